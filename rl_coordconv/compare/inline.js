// Show the value of the curve nearest to the pointer, and hide or show variants.

const number = (value) => Number(value.toPrecision(4)).toLocaleString("en");

function curves(group) {
  return [...group.querySelectorAll("[data-label]:not([data-label='']) > path")].map((path) => ({
    path,
    points: [...path.getAttribute("d").matchAll(/[ML] (\S+) (\S+)/g)].map((m) => [+m[1], +m[2]]),
  }));
}

// Return a curve's y at x in SVG coordinates; undefined outside of the curve.
function heightAt(points, x) {
  const i = points.findIndex((point, i) => i && points[i - 1][0] <= x && x <= point[0]);
  if (i < 0) return undefined;
  const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
  return x1 > x0 ? y0 + ((y1 - y0) * (x - x0)) / (x1 - x0) : y1;
}

function hover(figure, svg) {
  const tip = figure.querySelector("output");
  const groups = [...svg.querySelectorAll("[id*='-axes_']")];
  const axes = JSON.parse(svg.dataset.axes).map((a, i) => ({ ...a, curves: curves(groups[i]) }));
  const dot = document.createElementNS(svg.namespaceURI, "circle");
  dot.setAttribute("r", 4);
  svg.append(dot);

  function show(event) {
    hide();
    const pointer = new DOMPoint(event.clientX, event.clientY);
    const at = pointer.matrixTransform(svg.getScreenCTM().inverse());
    const isInside = ({ x, y }) => x[0] <= at.x && at.x <= x[1] && y[1] <= at.y && at.y <= y[0];
    const plot = axes.find(isInside);
    const near = plot?.curves
      .filter(({ path }) => !path.parentNode.classList.contains("off"))
      .map(({ path, points }) => ({ path, y: heightAt(points, at.x) }))
      .filter(({ y }) => y !== undefined)
      .sort((a, b) => Math.abs(a.y - at.y) - Math.abs(b.y - at.y))[0];
    if (!near) return;
    const value = (place, [start, end], low, high) =>
      number(low + ((place - start) / (end - start)) * (high - low));
    const x = value(at.x, plot.x, plot.limits[0], plot.limits[1]);
    const y = value(near.y, plot.y, plot.limits[2], plot.limits[3]);
    const { label } = near.path.parentNode.dataset;
    near.path.parentNode.classList.add("near");
    dot.setAttribute("cx", at.x);
    dot.setAttribute("cy", near.y);
    dot.style.display = "inline";
    tip.hidden = false;
    tip.textContent = `${label}\n${plot.names[0]}: ${x}\n${plot.names[1]}: ${y}`;
    const box = figure.getBoundingClientRect();
    const aside = event.clientX - box.left + 16;
    tip.style.left = `${Math.max(0, Math.min(aside, box.width - tip.offsetWidth))}px`;
    tip.style.top = `${event.clientY - box.top - tip.offsetHeight - 12}px`;
  }

  function hide() {
    tip.hidden = true;
    dot.style.display = "none";
    svg.querySelector(".near")?.classList.remove("near");
  }

  hide();
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show); // a tap
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
}

for (const figure of document.querySelectorAll("figure")) {
  figure.querySelectorAll("svg").forEach((svg) => hover(figure, svg));
  for (const button of figure.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const isOff = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", !isOff);
      figure
        .querySelectorAll(`[data-series="${button.value}"]`)
        .forEach((part) => part.classList.toggle("off", isOff));
    });
  }
}
