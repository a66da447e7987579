/** `<line-chart>`: one figure over time, drawn by uPlot. The figure's label describes the values in words. */
import { hourAndMinute, timeOfDay } from './format.js';

const dark = matchMedia('(prefers-color-scheme: dark)');

class LineChart extends HTMLElement {
    #points = [[], []];
    #plot = null;
    #observer = null;
    #redraw = () => this.#draw();

    /** Times in Unix seconds, and values. */
    set points(points) {
        this.#points = points;
        this.#plot?.setData(points);
    }

    connectedCallback() {
        this.output = document.createElement('output');
        this.append(this.output);
        this.#draw();
        this.#observer = new ResizeObserver(() => this.#fit());
        this.#observer.observe(this);
        dark.addEventListener('change', this.#redraw);
    }

    disconnectedCallback() {
        this.#observer.disconnect();
        dark.removeEventListener('change', this.#redraw);
        this.#plot?.destroy();
        this.#plot = null;
        this.replaceChildren();
    }

    /** A colour of the stylesheet in a form that the canvas accepts. */
    #color(name) {
        this.style.color = `var(${name})`;
        const { color } = getComputedStyle(this);
        this.style.color = '';
        return color;
    }

    #fit() {
        const { clientWidth: width, clientHeight: height } = this;
        if (width > 0 && height > 0) {
            this.#plot?.setSize({ width, height });
        }
    }

    #draw() {
        this.#plot?.destroy();
        const [line, quiet, grid] = [this.color ?? '--series-1', '--quiet', '--line'].map((name) => this.#color(name));
        const format = this.format ?? String;
        const font = `11px ${getComputedStyle(this).fontFamily}`;
        const options = {
            width: this.clientWidth || 300,
            height: this.clientHeight || 140,
            padding: [10, 20, 0, 0],
            legend: { show: false },
            cursor: { sync: { key: 'console' }, y: false, drag: { setScale: false, x: false, y: false } },
            scales: { y: { range: (_, least, most) => [0, Math.max(most * 1.12, this.least ?? 1)] } },
            axes: [
                {
                    stroke: quiet,
                    font,
                    size: 24,
                    space: 70,
                    grid: { show: false },
                    ticks: { show: false },
                    values: (_, times, axis, space, step) => times.map((time) => (step < 60 ? timeOfDay : hourAndMinute)(time * 1_000)),
                },
                {
                    stroke: quiet,
                    font,
                    size: 58,
                    space: 34,
                    grid: { stroke: grid, width: 1 },
                    ticks: { show: false },
                    values: (_, values) => values.map(format),
                },
            ],
            series: [{}, {
                stroke: line,
                width: 1.75,
                fill: line.replace(/^rgb\(([^)]*)\)$/, 'rgba($1, 0.12)'),
                points: { show: false },
            }],
            hooks: { setCursor: [(plot) => this.#describe(plot, format)] },
        };
        this.#plot = new globalThis.uPlot(options, this.#points, this);
    }

    #describe(plot, format) {
        const { idx } = plot.cursor;
        const [times, values] = plot.data;
        const known = idx !== null && idx !== undefined && values[idx] !== undefined;
        this.output.textContent = known ? `${timeOfDay(times[idx] * 1_000)}  ${format(values[idx])}` : '';
    }
}

customElements.define('line-chart', LineChart);
