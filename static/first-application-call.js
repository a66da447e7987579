import { make } from './dom.js';

const pretty = (value) => JSON.stringify(value, null, 2);

/** The timeout of a call. */
const CALL_TIMEOUT_MS = 10_000;

/** One call that the reader can change and send, with its request, its reply and the frames of the listeners. */
export class CallPanel {
    /** @type {?CallPanel} the panel of the latest call, which shows the frames that arrive now */
    static latest = null;

    /**
     * @param {HTMLElement} element `data-call` names method and path
     * @param {object} page `base`, `signature()`, `known` values of `$names`, `listeners`, `after(panel, reply)`
     */
    constructor(element, page) {
        this.id = element.id;
        [this.method, this.path] = element.dataset.call.split(' ');
        this.page = page;
        this.form = element.querySelector('form');
        this.text = element.querySelector('textarea');
        this.problem = element.querySelector('.error');
        this.outcome = element.querySelector('.outcome');
        this.form.addEventListener('submit', (event) => {
            event.preventDefault();
            this.run();
        });
    }

    /** The typed text, with each `$name` replaced by its value. */
    body() {
        const filled = this.text.value.replace(/\$[a-z]+/g, (name) => this.page.known.get(name) ?? name);
        return JSON.parse(filled);
    }

    async run() {
        this.problem.textContent = '';
        CallPanel.latest = this;
        const button = this.form.querySelector('button');
        button.disabled = true;
        try {
            this.refuseUnknown();
            const body = this.body();
            // Built before the call, because frames may arrive before the reply.
            this.calls = make('div', { class: 'calls' });
            this.outcome.replaceChildren(this.calls, this.listeners());
            const reply = await this.perform(body);
            await this.page.after(this, reply);
        } catch (error) {
            this.problem.textContent = error.message;
        }
        button.disabled = false;
        button.focus();
    }

    refuseUnknown() {
        const needs = { $alice: 'Connect alice first.', $message: 'Send a message first.' };
        for (const [name, advice] of Object.entries(needs)) {
            if (this.text.value.includes(name) && !this.page.known.get(name)) {
                throw new Error(advice);
            }
        }
    }

    /** Sends the call, shows it, and returns the reply. */
    async perform(body) {
        const signature = this.page.signature();
        const headers = { 'x-channelstream-secret': signature, 'content-type': 'application/json' };
        const { method, path } = this;
        const asked = make('div', {}, make('h3', {}, 'Request'), make('pre', { class: 'code wrap', tabindex: '0' },
            `${method} ${path}\nx-channelstream-secret: ${signature}\n\n${pretty(body)}`));
        const answered = make('div', {});
        this.calls.append(asked, answered);
        const reply = await fetch(this.page.base + path, {
            method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
        });
        const answer = await reply.json();
        answered.append(make('h3', {}, 'Reply ', make('span', { class: `badge ${reply.ok ? 'good' : 'bad'}` },
            String(reply.status))), make('pre', { class: 'code wrap', tabindex: '0' }, pretty(answer)));
        if (!reply.ok) {
            throw new Error(reply.status === 401 ? 'The server does not know this secret.' : 'The server refused this call.');
        }
        return answer;
    }

    listeners() {
        const column = ({ user, state }) => make('div', { 'data-user': user },
            make('h3', {}, `Frames for ${user} `, make('span', { class: 'quiet small' }, state)),
            make('ol', { class: 'log', tabindex: '0', 'aria-label': `Frames for ${user}` }));
        return make('div', { class: 'listeners' }, ...this.page.listeners.map(column));
    }

    showFrames(user, frames) {
        const log = this.outcome.querySelector(`[data-user="${user}"] .log`);
        log?.append(...frames.map((frame) => make('li', {}, pretty(frame))));
    }

    showState(user, state) {
        const label = this.outcome.querySelector(`[data-user="${user}"] h3 span`);
        if (label) {
            label.textContent = state;
        }
    }
}
