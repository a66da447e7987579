/** The state of the server, now and over time. */
import { html } from '../vendor/lit-html/lit-html.js';
import { get } from './api.js';
import './chart.js';
import { bytes, number, percent, rate } from './format.js';
import { nodesTable } from './nodes.js';
import { Series } from './series.js';

const SPANS = [
    { label: '10 minutes', stepS: 1, keep: 600 },
    { label: '3 hours', stepS: 15, keep: 720 },
    { label: '1 day', stepS: 120, keep: 720 },
];

/** Twelve charts fill all rows at each width of the grid. */
const CHARTS = [
    { name: 'connections', title: 'Connections', format: number, color: '--series-1', least: 4 },
    { name: 'users', title: 'Users connected', format: number, color: '--series-1', least: 4 },
    { name: 'deliveries_per_s', title: 'Deliveries per second', format: rate, color: '--series-1', least: 1 },
    { name: 'publishes_per_s', title: 'Publishes per second', format: rate, color: '--series-1', least: 1 },
    { name: 'queued_bytes', title: 'Bytes queued', format: bytes, color: '--series-2', least: 1_000 },
    { name: 'closed_too_slow', title: 'Slow consumers closed', format: rate, color: '--series-4', least: 1, sum: true },
    { name: 'closes_per_s', title: 'Websockets closed per second', format: rate, color: '--series-4', least: 1 },
    { name: 'refusals_per_s', title: 'Refusals per second', format: rate, color: '--series-4', least: 1 },
    { name: 'refused_busy', title: 'Refused while busy', format: rate, color: '--series-4', least: 1, sum: true },
    { name: 'channels', title: 'Channels', format: number, color: '--series-3', least: 4 },
    { name: 'memory_bytes', title: 'Memory', format: bytes, color: '--series-3', least: 1_000_000 },
    { name: 'cpu_percent', title: 'Processor, of one core', format: percent, color: '--series-3', least: 5 },
];

const FIGURES = [
    ['total_connections', 'Connections'],
    ['unique_user_count', 'Users connected'],
    ['remembered_user_count', 'Users remembered'],
    ['total_channels', 'Channels'],
    ['total_unique_messages', 'Messages'],
    ['total_messages', 'Messages queued'],
];

export class Overview {
    title = 'Overview';

    constructor({ params, changed }) {
        this.changed = changed;
        this.choose(SPANS.find(({ stepS }) => String(stepS) === params.step) ?? SPANS[0]);
    }

    choose(span) {
        this.span = span;
        this.series = new Series(span.stepS);
    }

    async load(signal) {
        const { series, span } = this;
        // Requests no channels and users, which have their own pages.
        const params = { per_page: 0, step_s: span.stepS, since: series.last };
        this.figures = await get('/admin/admin.json', params, signal);
        series.take(this.figures.series, span.keep);
        return this.figures;
    }

    template() {
        return html`
            <h1 class="visually-hidden page-title" tabindex="-1">State of the server</h1>
            <dl class="stats plain" aria-label="Figures">${this.figures ? this.#figures() : ''}</dl>
            ${this.figures ? nodesTable(this.figures) : ''}
            <div class="row between">
                <div class="row"><h2>Over time</h2>
                    ${this.figures ? html`<p class="quiet small">${this.figures.nodes ? 'This node: version' : 'Version'}
                        ${this.figures.version}, up for
                        <span data-counter="uptime">${this.figures.uptime}</span></p>` : ''}</div>
                <div class="choice" role="group" aria-label="Span of the charts">${SPANS.map((span) => html`
                    <button type="button" aria-pressed=${span === this.span} @click=${() => this.#turnTo(span)}
                        >${span.label}</button>`)}</div>
            </div>
            <div class="grid charts">${CHARTS.map((chart) => this.#chart(chart))}</div>`;
    }

    #turnTo(span) {
        this.choose(span);
        this.changed();
    }

    #figures() {
        const { figures } = this;
        return FIGURES.map(([key, label]) => html`
            <div class="stat"><dt>${label}</dt><dd data-counter=${key}>${number(figures[key])}</dd></div>`);
    }

    #chart({ name, title, format, color, least, sum }) {
        const { series, span } = this;
        const values = series.values(name);
        const now = values.at(-1);
        const shown = now === undefined ? '…' : format(sum ? values.reduce((total, value) => total + value, 0) : now);
        const words = values.length === 0 ? '' : sum
            ? `${shown} within ${span.label}`
            : `now ${shown}; within ${span.label} lowest ${format(Math.min(...values))}, highest ${format(Math.max(...values))}`;
        return html`
            <figure class="card chart" data-chart=${name} aria-label="${title}: ${words}" role="img">
                <h3>${title}${sum ? html` <span>in ${span.label}</span>` : ''}</h3>
                <p class="now">${shown}</p>
                <line-chart .color=${color} .format=${format} .least=${least} .points=${series.points(name)}></line-chart>
            </figure>`;
    }
}
