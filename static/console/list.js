/** A list with search, sorting and pages. The server does this work, so the list can have any number of rows. */
import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { get } from './api.js';
import { number } from './format.js';

const SEARCH_PAUSE_MS = 250;
const PER_PAGE = [25, 50, 100, 200];
const DEFAULT = { search: '', page: '1', per_page: '50' };

/**
 * @typedef {object} Columns
 * @property {string} label
 * @property {(row: object) => unknown} show
 * @property {string} [sort] the server's name of the column; without it the column is not sortable
 * @property {boolean} [number] right-aligned, and sorted largest first at the first click
 * @property {boolean} [head] whether the cell is the row's header
 * @property {(rows: object[]) => boolean} [when] whether these rows need the column
 */

export class List {
    /**
     * @param {object} options
     * @param {string} options.path the address of the list
     * @param {string} options.name the name of the listed objects, in the plural
     * @param {Columns[]} options.columns
     * @param {(row: object) => string} options.key
     * @param {string} options.sort the initial order
     * @param {object} [options.fixed] parameters that do not change
     * @param {object} [options.params] the initial parameters
     * @param {() => void} options.changed called when the list must be rendered or loaded again
     * @param {(params: object) => void} [options.note] called with the parameters when they change
     */
    constructor(options) {
        this.options = options;
        const { params = {}, sort } = options;
        this.params = { ...DEFAULT, sort };
        for (const key of Object.keys(this.params)) {
            this.params[key] = params[key] ?? this.params[key];
        }
        this.rows = null;
    }

    async load(signal) {
        const { path, fixed } = this.options;
        const answer = await get(path, { ...fixed, ...this.params }, signal);
        const { rows, total, matching, partial } = answer;
        Object.assign(this, { rows, total, matching, partial });
    }

    #set(change) {
        Object.assign(this.params, { page: '1' }, change);
        const { sort, note, changed } = this.options;
        const usual = { ...DEFAULT, sort };
        note?.(Object.fromEntries(Object.entries(this.params).filter(([key, value]) => value !== usual[key])));
        changed();
    }

    #search(event) {
        const search = event.target.value;
        clearTimeout(this.pause);
        this.pause = setTimeout(() => this.#set({ search }), SEARCH_PAUSE_MS);
    }

    #sortBy({ sort, number: isNumber }) {
        const { sort: current } = this.params;
        const first = isNumber ? `-${sort}` : sort;
        const second = isNumber ? sort : `-${sort}`;
        this.#set({ sort: current === first ? second : first });
    }

    template() {
        const { name } = this.options;
        return html`<div class="list">
            <div class="row list-tools">
                <div class="search">
                    <label for="${name}-search">Search ${name}</label>
                    <input id="${name}-search" type="search" autocomplete="off" spellcheck="false"
                        .value=${this.params.search} @input=${(event) => this.#search(event)}>
                </div>
                <div><label for="${name}-per-page">Rows</label>
                    <select id="${name}-per-page" @change=${(event) => this.#set({ per_page: event.target.value })}>
                        ${PER_PAGE.map((count) => html`
                            <option ?selected=${String(count) === this.params.per_page}>${count}</option>`)}
                    </select></div>
            </div>
            ${this.partial ? html`<p class="note warn">Redis or a node does not answer, so this list is not complete.</p>` : ''}
            ${this.rows === null ? html`<p class="empty">Loading…</p>` : this.#table()}
        </div>`;
    }

    #table() {
        const { name, key } = this.options;
        const columns = this.options.columns.filter(({ when }) => when?.(this.rows) ?? true);
        if (this.rows.length === 0) {
            const none = this.params.search ? `No ${name} found.` : `No ${name}.`;
            return html`<div class="table-wrap"><p class="empty" data-empty=${name}>${none}</p></div>
                ${this.params.page === '1' ? '' : this.#pager()}`;
        }
        return html`
            <div class="table-wrap" tabindex="0" role="region" aria-label="Table of ${name}">
                <table class="hoverable" id=${name}>
                    <thead><tr>${columns.map((column) => this.#head(column))}</tr></thead>
                    <tbody>${repeat(this.rows, key, (row) => html`<tr data-key=${key(row)}>${columns.map((column) =>
                        this.#cell(column, row))}</tr>`)}</tbody>
                </table>
            </div>
            ${this.#pager()}`;
    }

    #head(column) {
        const { sort } = this.params;
        const direction = sort === column.sort ? 'ascending' : sort === `-${column.sort}` ? 'descending' : 'none';
        return html`<th scope="col" class=${column.number ? 'number' : nothing}
            aria-sort=${column.sort ? direction : nothing}>${column.sort
                ? html`<button type="button" @click=${() => this.#sortBy(column)}>${column.label}</button>`
                : column.label}</th>`;
    }

    #cell(column, row) {
        const shown = column.show(row);
        return column.head
            ? html`<th scope="row">${shown}</th>`
            : html`<td class=${column.number ? 'number' : nothing}>${shown}</td>`;
    }

    #pager() {
        const [page, perPage] = [Number(this.params.page), Number(this.params.per_page)];
        const first = (page - 1) * perPage + 1;
        const last = first + this.rows.length - 1;
        const all = this.params.search ? `${number(this.matching)} found` : number(this.matching);
        const turn = (by) => () => this.#set({ page: String(page + by) });
        return html`<div class="pager">
            <p>${this.rows.length ? `${number(first)}–${number(last)} of ${all}` : `Page ${page} is empty`}</p>
            <button type="button" class="small plain" ?disabled=${page === 1} @click=${turn(-1)}>Previous</button>
            <button type="button" class="small plain" ?disabled=${last >= this.matching} @click=${turn(1)}>Next</button>
        </div>`;
    }
}
