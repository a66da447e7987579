/** The nodes of a cluster. */
import { html } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { number, rate } from './format.js';

const BADGES = { serving: 'good', draining: 'warn', silent: 'bad' };

const row = ({ number: id, name, version, this: isThis, state, connections, users, channels, last_beat_ms: beat }) => html`
    <tr data-key=${id}>
        <th scope="row">${name || id}${isThis ? html` <span class="tag">this node</span>` : ''}</th>
        <td>${version || '–'}</td>
        <td><span class="badge ${BADGES[state] ?? ''}">${state}</span></td>
        <td class="number">${number(connections)}</td>
        <td class="number">${number(users)}</td>
        <td class="number">${number(channels)}</td>
        <td class="number nowrap">${rate(beat / 1_000)} s ago</td>
    </tr>`;

/** The table of nodes, if the server is one of several. */
export function nodesTable({ nodes = [], stale }) {
    return nodes.length === 0 && !stale ? '' : html`<section class="nodes">
        <div class="row"><h2>Nodes</h2>${stale ? html`<p class="small"><span class="badge warn" id="nodes-stale">stale</span>
            Redis does not answer, so this is what the node knew last.</p>` : ''}</div>
        <div class="table-wrap" tabindex="0" role="region" aria-label="Table of nodes"><table id="nodes">
            <thead><tr>
                <th scope="col">Node</th><th scope="col">Version</th><th scope="col">State</th>
                <th scope="col" class="number">Connections</th><th scope="col" class="number">Users</th>
                <th scope="col" class="number">Channels</th><th scope="col" class="number">Last beat</th>
            </tr></thead>
            <tbody>${repeat(nodes, (node) => node.number, row)}</tbody>
        </table></div>
        <p class="hint">All other figures of this page are those of this node.</p>
    </section>`;
}
