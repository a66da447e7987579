/** The limits and how often each was reached, other refusals, recoveries, and the reasons of closed websockets. */
import { html } from '../vendor/lit-html/lit-html.js';
import { get } from './api.js';
import { binary, milliseconds, number, plural } from './format.js';
import { since } from './lists.js';

/** What a counter counts if several settings share it. */
const SHARED = { fields: 'all fields that failed validation', refused_busy: 'all requests refused while busy' };

/** Formats a bound. The end of the setting's name is its unit. */
function boundText({ setting, bound }) {
    if (bound === null) {
        return 'none';
    }
    return setting.endsWith('_bytes') ? binary(bound) : setting.endsWith('_ms') ? milliseconds(bound) : number(bound);
}

/** Renders names between backticks as code. */
const marked = (text) => text.split('`').map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));

const last = (unix) => (unix ? html`${since(unix)} ago` : 'never');

/** Puts rows with a count first. All others keep their order. */
const happenedFirst = (rows) => rows.toSorted((a, b) => (b.count > 0) - (a.count > 0));

/** Highlights a count that may need an action of the operator. */
const alarming = (count) => (count > 0 ? html`<span class="badge warn">${number(count)}</span>` : number(count));

/** A table of failures, with their causes. */
function failures(id, label, column, rows) {
    return html`<div class="table-wrap" tabindex="0" role="region" aria-label=${label}><table id=${id}>
        <thead><tr>
            <th scope="col">Counter</th><th scope="col" class="number">${column}</th>
            <th scope="col" class="number">Last</th>
        </tr></thead>
        <tbody>${happenedFirst(rows).map(({ counter, about, count, last: unix }) => html`<tr data-key=${counter}>
            <th scope="row"><code>${counter}</code><span class="about">${marked(about)}</span></th>
            <td class="number">${alarming(count)}</td>
            <td class="number nowrap">${last(unix)}</td>
        </tr>`)}</tbody>
    </table></div>`;
}

export class Limits {
    title = 'Limits';

    async load(signal) {
        this.report = await get('/admin/limits.json', {}, signal);
    }

    template() {
        return html`
            <h1 class="visually-hidden page-title" tabindex="-1">Limits</h1>
            ${this.report ? html`<div class="detail">
                ${this.#limits()}
                <div class="side">${this.#closed()}${this.#refused()}${this.#returned()}</div>
            </div>` : html`<p class="empty">Loading…</p>`}`;
    }

    #limits() {
        return html`<section class="limits">
            <h2>Limits</h2>
            <div class="table-wrap" tabindex="0" role="region" aria-label="Table of limits"><table id="limits">
                <thead><tr>
                    <th scope="col">Setting</th><th scope="col" class="number">Bound</th>
                    <th scope="col" class="number">Reached</th><th scope="col" class="number">Last</th>
                </tr></thead>
                <tbody>${happenedFirst(this.report.limits).flatMap((group) => this.#group(group))}</tbody>
            </table></div>
            <p class="hint">The counters start when the server starts.</p>
        </section>`;
    }

    #group({ counter, count, last: unix, settings }) {
        return settings.map((setting, index) => html`<tr data-key=${setting.setting}>
            <th scope="row"><code>${setting.setting}</code><span class="about">${marked(setting.about)}</span></th>
            <td class="number nowrap">${boundText(setting)}</td>
            ${index === 0 ? html`
                <td class="number" rowspan=${settings.length}>${count === null
                    ? html`<span class="quiet nowrap">not counted</span>` : alarming(count)}${settings.length > 1
                    ? html`<span class="about">${SHARED[counter]}</span>` : ''}</td>
                <td class="number nowrap" rowspan=${settings.length}>${count === null ? '–' : last(unix)}</td>` : ''}
        </tr>`);
    }

    #closed() {
        // Rows without a close code of the server come last.
        const closed = happenedFirst(this.report.closed.toSorted((a, b) => (a.code ?? Infinity) - (b.code ?? Infinity) || 0));
        return html`<section>
            <h2>Closed websockets</h2>
            <div class="table-wrap" tabindex="0" role="region" aria-label="Table of closed websockets"><table id="closed">
                <thead><tr>
                    <th scope="col" class="number">Code</th><th scope="col">Reason</th>
                    <th scope="col" class="number">Closed</th><th scope="col" class="number">Last</th>
                </tr></thead>
                <tbody>${closed.map(({ code, reason, about, count, last: unix }) => html`<tr data-key=${reason}>
                    <td class="number">${code ?? '–'}</td>
                    <th scope="row"><code>${reason}</code><span class="about">${marked(about)}</span></th>
                    <td class="number">${number(count)}</td>
                    <td class="number nowrap">${last(unix)}</td>
                </tr>`)}</tbody>
            </table></div>
        </section>`;
    }

    #refused() {
        return html`<section>
            <h2>Refused for other reasons</h2>
            ${failures('refused', 'Table of other refusals', 'Refused', this.report.refused)}
        </section>`;
    }

    #returned() {
        const { recovered, not_recovered: losses } = this.report;
        return html`<section>
            <h2>Not recovered</h2>
            ${failures('not-recovered', 'Table of streams that were not recovered', 'Streams', losses)}
            <p class="hint">Channels and private streams in which a returning client may have missed something.
                ${plural(recovered, 'stream was', 'streams were')} recovered.</p>
        </section>`;
    }
}
