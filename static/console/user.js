/** One user: state and connections. */
import { html } from '../vendor/lit-html/lit-html.js';
import { command, get } from './api.js';
import { confirmLoss, notify } from './dialogs.js';
import { plural } from './format.js';
import { connectionsOf } from './lists.js';
import { href } from './router.js';

export class User {
    constructor({ argument, changed }) {
        this.name = argument;
        this.title = `User ${argument}`;
        this.changed = changed;
        this.connections = connectionsOf({ user: argument }, changed);
    }

    async load(signal) {
        [this.user] = await Promise.all([
            get('/admin/user.json', { name: this.name }, signal),
            this.connections.load(signal),
        ]);
    }

    template() {
        const { user } = this;
        return html`
            <div class="detail-head">
                <a class="back" href=${href('users')}>← Users</a>
                <div class="row between"><h1 class="page-title" tabindex="-1">${this.name}</h1>
                    ${user?.total ? html`<button type="button" class="danger plain"
                        @click=${() => this.#disconnect()}>Disconnect…</button>` : ''}</div>
            </div>
            ${user ? this.#body() : html`<p class="empty">Loading…</p>`}`;
    }

    #body() {
        const { user } = this;
        const shown = user.public_keys.length ? user.public_keys.join(', ') : 'none';
        return html`
            <section class="card" aria-labelledby="state-title">
                <h2 id="state-title">State</h2>
                <pre class="code wrap" tabindex="0" aria-labelledby="state-title">${JSON.stringify(user.state, null, 2)}</pre>
                <p class="quiet small">Keys that other users can see: ${shown}</p>
            </section>
            <section class="wide-section" aria-labelledby="connections-title">
                <h2 id="connections-title">Connections</h2>${this.connections.template()}
            </section>`;
    }

    async #disconnect() {
        const count = plural(this.user.total, 'connection');
        const question = {
            title: `Disconnect ${this.name}?`,
            text: `The server closes ${count} of this user. Undelivered messages are lost. The clients may connect again.`,
            action: 'Disconnect',
        };
        if (!await confirmLoss(question)) {
            return;
        }
        try {
            const { ended } = await command('/admin/disconnect_user', { user: this.name });
            notify(`${plural(ended, 'connection')} closed.`);
        } catch (error) {
            notify(error.message, 'bad');
        }
        this.changed();
    }
}
