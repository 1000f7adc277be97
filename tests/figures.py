"""Check that figures have legends and labels."""

from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure


def missing(figure: Figure) -> set[str]:
    """Return what is missing: legend, name of error bars, colour bar or its label."""
    names = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    images = [image for axes in figure.axes for image in axes.images]
    bars = [image.colorbar for image in images if image.colorbar]
    containers = [container for axes in figure.axes for container in axes.containers]
    has_errors = any(isinstance(container, ErrorbarContainer) for container in containers)
    drawn = [artist for axes in figure.axes for artist in (*axes.lines, *axes.collections)]
    of_bars = [artist for bar in bars for artist in (*bar.ax.lines, *bar.ax.collections)]
    lacks = {
        "legend": len(drawn) > len(of_bars) and not names,
        "name of error bars": has_errors and not any("interval" in name for name in names),
        "colour bar": bool(images) and not bars,
        "label of a colour bar": not all(bar.ax.get_ylabel() for bar in bars),
    }
    return {name for name, is_missing in lacks.items() if is_missing}
