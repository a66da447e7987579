/** One channel: its live frames, a test message, its settings and its connections. */
import { html } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { command, get } from './api.js';
import { confirmLoss, notify } from './dialogs.js';
import { ago, bytes, number, plural, rate, timeOfDay } from './format.js';
import { connectionsOf, settingTags } from './lists.js';
import { Recording } from './recording.js';
import { href } from './router.js';
import { localTime } from '../dom.js';

const FLAGS = [
    ['notify_presence', 'Notify members when users join or leave'],
    ['broadcast_presence_with_user_lists', '… with the list of all users'],
    ['notify_state', 'Notify members when a user’s state changes'],
    ['store_history', 'Keep messages for the history'],
    ['store_frames', 'Keep frames for clients that reconnect'],
];

export class Channel {
    constructor({ argument, changed }) {
        this.name = argument;
        this.title = `Channel ${argument}`;
        this.changed = changed;
        this.connections = connectionsOf({ channel: argument }, changed);
        this.recording = new Recording({ channel: argument }, changed);
        this.draft = '{"text": "A test from the console"}';
        this.problem = '';
        this.settingsProblem = '';
    }

    async load(signal) {
        [this.channel] = await Promise.all([
            get('/admin/channel.json', { name: this.name }, signal),
            this.connections.load(signal),
        ]);
        this.edited ??= { ...this.channel.settings };
        if (!this.begun) {
            this.begun = true;
            await this.recording.start();
        }
    }

    leave() {
        this.recording.leave();
    }

    template() {
        const { channel } = this;
        return html`
            <div class="detail-head">
                <a class="back" href=${href('channels')}>← Channels</a>
                <div class="row"><h1 class="page-title" tabindex="-1">${this.name}</h1>
                    ${channel ? html`<span>${settingTags(channel.settings)}</span>` : ''}</div>
            </div>
            ${channel ? this.#body() : html`<p class="empty">Loading…</p>`}`;
    }

    #body() {
        return html`
            ${this.#figures()}
            <div class="detail">
                <div class="side">${this.#frames()}${this.#history()}</div>
                <div class="side">${this.#message()}${this.#settings()}</div>
            </div>
            <section class="wide-section" aria-labelledby="members-title">
                <h2 id="members-title">Connections in this channel</h2>${this.connections.template()}
            </section>`;
    }

    #figures() {
        const { connections, users, history, frames, frames_per_s: perSecond, last_active: active } = this.channel;
        const figures = [
            ['Connections', number(connections)],
            ['Users', number(users)],
            ['Messages kept', number(history)],
            ['Frames so far', number(frames)],
            ['Frames per second', rate(perSecond)],
            ['Last active', `${ago((localTime(active)?.getTime() ?? 0) / 1_000)} ago`],
        ];
        return html`<dl class="stats plain" aria-label="Figures of the channel">${figures.map(([label, value]) => html`
            <div class="stat"><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`;
    }

    #frames() {
        const { recording } = this;
        const state = recording.running ? (recording.problem ? 'wait' : 'open') : 'idle';
        const text = recording.problem || (recording.running ? 'Watching' : 'Stopped');
        const newest = [...recording.events].reverse();
        return html`<section class="card" aria-labelledby="frames-title">
            <div class="row between">
                <div class="row"><h2 id="frames-title">Live frames</h2>
                    <span class="state" data-state=${state}>${text}</span></div>
                <button type="button" class="small plain" @click=${() => this.#toggle()}
                    >${recording.running ? 'Stop' : 'Watch'}</button>
            </div>
            ${recording.missed ? html`<p class="note warn">${plural(recording.missed, 'frame')} arrived too quickly
                to be shown.</p>` : ''}
            ${newest.length ? html`<ol class="log frames" tabindex="0" aria-label="Frames, newest first">
                ${repeat(newest, (frame) => frame.number, frameLine)}</ol>`
                : html`<p class="empty">No frames since you opened this page.</p>`}
        </section>`;
    }

    async #toggle() {
        const { recording } = this;
        await (recording.running ? recording.stop() : recording.start()).catch((error) => notify(error.message, 'bad'));
    }

    #message() {
        return html`<form class="card fields" aria-labelledby="message-title" @submit=${(event) => this.#send(event)}>
            <h2 id="message-title">Send a test message</h2>
            <div><label for="message-user">As user</label>
                <input id="message-user" name="user" value="console" required maxlength="512" autocomplete="off"></div>
            <div><label for="message-body">Message (JSON)</label>
                <textarea id="message-body" name="message" class="code" spellcheck="false" .value=${this.draft}
                    @input=${(event) => { this.draft = event.target.value; }}></textarea></div>
            <div><label for="message-only">Only to these users</label>
                <input id="message-only" name="only" autocomplete="off" aria-describedby="message-only-hint">
                <p id="message-only-hint" class="hint">User names separated by commas. Empty: all members.</p></div>
            <label class="check"><input type="checkbox" name="no_history"><span>Keep it out of the history</span></label>
            <p class="error" role="alert">${this.problem}</p>
            <div><button>Send to ${plural(this.channel.connections, 'connection')}</button></div>
        </form>`;
    }

    async #send(event) {
        event.preventDefault();
        const form = new FormData(event.target);
        this.problem = '';
        try {
            const only = form.get('only').split(',').map((name) => name.trim()).filter(Boolean);
            const message = {
                channel: this.name,
                user: form.get('user'),
                message: JSON.parse(form.get('message')),
                pm_users: only,
                no_history: form.has('no_history'),
            };
            await command('/admin/message', [message]);
            notify('The message was sent.');
        } catch (error) {
            this.problem = error instanceof SyntaxError ? `This is not JSON: ${error.message}` : error.message;
        }
        this.changed();
    }

    #settings() {
        const { edited, channel: { rules } } = this;
        const set = (key) => (event) => { edited[key] = event.target.checked; };
        const isFixed = (key) => rules.fixed.includes(key);
        return html`<form class="card fields" aria-labelledby="settings-title" @submit=${(event) => this.#save(event)}>
            <h2 id="settings-title">Settings</h2>
            ${FLAGS.map(([key, label]) => html`<label class="check">
                <input type="checkbox" name=${key} ?disabled=${isFixed(key)} .checked=${edited[key]}
                    @change=${set(key)}><span>${label}</span></label>`)}
            <div><label for="history-size">Messages kept at most</label>
                <input id="history-size" type="number" min="0" step="1" required
                    ?disabled=${isFixed('history_size')} .value=${String(edited.history_size)}
                    @input=${(event) => { edited.history_size = event.target.valueAsNumber; }}
                    aria-describedby="history-size-hint">
                <p id="history-size-hint" class="hint">0 keeps as many as the server allows.</p></div>
            ${rules.match ? html`<p class="hint">Rules of the pattern <code>${rules.match}</code>:
                ${ruleTexts(rules).join('; ')}.</p>` : ''}
            <p class="error" role="alert">${this.settingsProblem}</p>
            <div class="row"><button>Save</button>
                <button type="button" class="plain" @click=${(event) => this.#restore(event.currentTarget.form)}>Restore</button></div>
        </form>`;
    }

    #restore(form) {
        this.edited = { ...this.channel.settings };
        // lit-html sets only values that differ from its last rendering, and does not detect typed input.
        form.elements['history-size'].value = String(this.edited.history_size);
        for (const [key] of FLAGS) {
            form.elements[key].checked = this.edited[key];
        }
        this.changed();
    }

    /** The data that saving the edited settings would discard. */
    #losses() {
        const { channel: { settings, history }, edited } = this;
        const kept = edited.history_size === 0 ? Infinity : edited.history_size;
        return [
            settings.store_frames && !edited.store_frames && 'the frames kept for clients that reconnect',
            settings.store_history && history > kept && plural(history - kept, 'message of the history', 'messages of the history'),
        ].filter(Boolean);
    }

    async #save(event) {
        event.preventDefault();
        const losses = this.#losses();
        const question = {
            title: 'Change the settings?',
            text: `This discards ${losses.join(' and ')}.`,
            action: 'Change the settings',
        };
        if (losses.length && !await confirmLoss(question)) {
            return;
        }
        this.settingsProblem = '';
        try {
            const answer = await command('/admin/channel_config', { [this.name]: this.edited });
            this.channel.settings = answer.channels[this.name].settings;
            notify('The settings were changed.');
        } catch (error) {
            this.settingsProblem = error.message;
        }
        this.changed();
    }

    #history() {
        const { messages } = this.channel;
        if (messages.length === 0) {
            return '';
        }
        return html`<section class="card" aria-labelledby="history-title">
            <h2 id="history-title">Last messages of the history</h2>
            <ol class="log frames" tabindex="0" aria-labelledby="history-title">
                ${repeat([...messages].reverse(), (kept) => kept.uuid, (kept) => html`<li><div class="line">
                    <b>${kept.user}</b><span class="grow">${kept.message ? JSON.stringify(kept.message.message) : 'too long to be shown'}</span>
                    <span class="quiet">${bytes(kept.bytes)}</span></div></li>`)}
            </ol></section>`;
    }
}

/** What a pattern decides, apart from the fixed settings, which cannot be edited. */
const ruleTexts = (rules) => Object.entries(rules)
    .filter(([key]) => !['match', 'defaults', 'fixed'].includes(key))
    .map(([key, value]) => `${key} = ${value}`);

function audience({ only, except, connections }) {
    const users = only === null ? plural(connections, 'connection') : `${plural(only, 'user')} only`;
    return except ? `${users}, not to ${plural(except, 'user')}` : users;
}

const preview = ({ frame }) => (frame ? JSON.stringify(frame.message ?? null) : 'too long to be shown');

const frameLine = (frame) => html`<li data-uuid=${frame.uuid}><details>
    <summary><time>${timeOfDay(frame.at_ms)}</time><span class="badge accent">${frame.type}</span>
        ${frame.only !== null || frame.except ? html`<span class="badge warn">not for all</span>` : ''}
        <b>${frame.user}</b><span class="grow clip">${preview(frame)}</span><span class="quiet">${bytes(frame.bytes)}</span></summary>
    <p>To ${audience(frame)}.</p>
    <pre>${frame.frame ? JSON.stringify(frame.frame, null, 2) : 'Too long to be shown.'}</pre>
</details></li>`;
