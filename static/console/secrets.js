/** The secrets that sign requests: how often, from which addresses and when each was last used. */
import { html } from '../vendor/lit-html/lit-html.js';
import { get } from './api.js';
import { number, plural } from './format.js';
import { since } from './lists.js';

const addresses = ({ addresses: list }) => (list.length === 0
    ? html`<span class="quiet">none yet</span>`
    : list.map(({ address, uses, last_used: last }) => html`
        <div><span class="mono small">${address}</span> <span class="quiet small nowrap">${plural(uses, 'request')},
            ${since(last)} ago</span></div>`));

export class Secrets {
    title = 'Secrets';

    async load(signal) {
        ({ secrets: this.secrets } = await get('/admin/secrets.json', {}, signal));
    }

    template() {
        return html`
            <h1 class="visually-hidden page-title" tabindex="-1">Secrets</h1>
            <p class="quiet small">The server counts the requests signed with each secret by sender address, from the time
                when it first accepted that secret. You can retire a secret that was unused for longer than your
                applications can be idle: remove it from the settings and send SIGHUP to the server. Fingerprints distinguish
                the secrets and change when the server restarts.</p>
            ${this.secrets ? this.#table() : html`<p class="empty">Loading…</p>`}`;
    }

    #table() {
        return html`
            <div class="table-wrap" tabindex="0" role="region" aria-label="Table of secrets">
                <table class="hoverable" id="secrets">
                    <thead><tr>
                        <th scope="col">Secret</th><th scope="col">Fingerprint</th>
                        <th scope="col" class="number">Requests</th><th scope="col" class="number">Last used</th>
                        <th scope="col">From</th><th scope="col" class="number">Accepted for</th>
                    </tr></thead>
                    <tbody>${this.secrets.map((secret) => html`<tr data-key=${secret.fingerprint}>
                        <th scope="row">${number(secret.position)}${secret.signs
                            ? html` <span class="tag">first</span>` : ''}</th>
                        <td><code>${secret.fingerprint}</code></td>
                        <td class="number">${number(secret.uses)}</td>
                        <td class="number">${secret.last_used ? since(secret.last_used) : 'never'}</td>
                        <td>${addresses(secret)}</td>
                        <td class="number">${since(secret.since)}</td>
                    </tr>`)}</tbody>
                </table>
            </div>`;
    }
}
