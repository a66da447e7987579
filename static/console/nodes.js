/** The nodes of a cluster. */
import { html } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { bytes, number, percent, plural, rate } from './format.js';

const BADGES = { serving: 'good', draining: 'warn', silent: 'bad' };

/** A figure of a node's last sample. A node that has just started has none. */
const figure = (figures, name, format) => (figures[name] === undefined ? '–' : format(figures[name]));

const row = ({ differs, number: id, name, version, this: isThis, state, connections, users, channels, figures, last_beat_ms: beat }) => html`
    <tr data-key=${id}>
        <th scope="row" class="nowrap">${name || id}${isThis ? html` <span class="tag">this node</span>` : ''}</th>
        <td>${version || '–'}</td>
        <td class="nowrap"><span class="badge ${BADGES[state] ?? ''}">${state}</span>${differs.length
            ? html` <span class="badge warn">differs</span>` : ''}</td>
        <td class="number">${number(connections)}</td>
        <td class="number">${number(users)}</td>
        <td class="number">${number(channels)}</td>
        <td class="number">${figure(figures, 'deliveries_per_s', rate)}</td>
        <td class="number nowrap">${figure(figures, 'memory_bytes', bytes)}</td>
        <td class="number nowrap">${figure(figures, 'cpu_percent', percent)}</td>
        <td class="number nowrap">${rate(beat / 1_000)} s ago</td>
    </tr>`;

/** What a node has that most others do not. */
const difference = ({ name, number: id, differs }) => html`<li>${name || id}: ${differs.map((text, index) => html`${index ? ', ' : ''}<code>${text}</code>`)}</li>`;

/** The table of nodes, if the server is one of several. */
export function nodesTable({ nodes = [], stale }) {
    const differing = nodes.filter(({ differs }) => differs.length);
    return nodes.length === 0 && !stale ? '' : html`<section class="nodes" aria-labelledby="nodes-title">
        <div class="row"><h2 id="nodes-title">${plural(nodes.length, 'node')}</h2>
            ${stale ? html`<p class="small"><span class="badge warn" id="nodes-stale">stale</span>
                Redis or a node does not answer: this page shows what this node knew last.</p>` : ''}</div>
        <div class="table-wrap" tabindex="0" role="region" aria-label="Table of nodes"><table id="nodes">
            <thead><tr>
                <th scope="col">Node</th><th scope="col">Version</th><th scope="col">State</th>
                <th scope="col" class="number">Connections</th><th scope="col" class="number">Users</th>
                <th scope="col" class="number">Channels</th><th scope="col" class="number">Deliveries/s</th>
                <th scope="col" class="number">Memory</th><th scope="col" class="number">Processor</th>
                <th scope="col" class="number">Last beat</th>
            </tr></thead>
            <tbody>${repeat(nodes, (node) => node.number, row)}</tbody>
        </table></div>
        ${differing.length ? html`<div class="note warn" id="nodes-differ"><p>These nodes have other secrets or settings than most.
            Requests and clients are treated differently there.</p><ul>${differing.map(difference)}</ul></div>` : ''}
        <p class="hint">A user who is connected to several nodes counts at each of them here, and once above. Channels are those
            that a node has a copy of. The charts are those of all nodes.</p>
    </section>`;
}
