# The main job, on a CPU:
#     docker build -t rl_coordconv .
#     docker run --rm -v "$PWD/runs:/app/runs" rl_coordconv train-a2c --extractor coordconv
# On a GPU (with NVIDIA's container toolkit), the version of CUDA is that of torch's wheels:
#     docker build --build-arg TORCH=cu128 -t rl_coordconv:cuda .
#     docker run --rm --gpus all --ipc host -v "$PWD/runs:/app/runs" rl_coordconv:cuda \
#         train-a2c --extractor coordconv
FROM python:3.12-slim

# cpu, or a version of CUDA such as cu128.
ARG TORCH=cpu
RUN pip install --no-cache-dir torch --index-url "https://download.pytorch.org/whl/$TORCH"

COPY . /src
RUN pip install --no-cache-dir "/src[analysis,video]" && rm -r /src

WORKDIR /app
ENTRYPOINT ["rl-coordconv"]
CMD ["train-a2c", "--extractor", "coordconv"]
