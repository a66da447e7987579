/** One connection: its state, and why it received a message or did not. */
import { html } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { Gone, command, get } from './api.js';
import { confirmLoss, notify } from './dialogs.js';
import { ahead, ago, bytes, moment, number, plural, timeOfDay } from './format.js';
import { phaseBadge, since } from './lists.js';
import { Recording } from './recording.js';
import { href } from './router.js';

const PHASES = {
    attached: 'It has a session.',
    waiting: 'It has no session: it is new, or between two polls.',
    lingering: 'Its socket has just closed.',
    releasing: 'A new session waits until the previous one ends.',
    away: 'It is not counted or listed, but the client may still reconnect.',
};

/** The outcome of a frame: the kind of badge, its label and an explanation. */
const OUTCOMES = {
    sent: ['good', 'sent', () => 'the kernel has accepted the whole frame'],
    queued: ['warn', 'queued', ({ queued_bytes: queued }) => `the client reads slowly; ${bytes(queued)} are queued`],
    collected: ['good', 'collected', () => 'the next poll response contains it'],
    caught_up: ['good', 'caught up', () => 'missed before, sent now'],
    held: ['warn', 'held', () => 'waits until the missed frames are sent'],
    had_it: ['', 'had it', () => 'the client already has it'],
    not_meant: ['', 'not meant', () => 'only for other users, or it excludes this user'],
    sealed: ['warn', 'next time', () => 'this session accepts no more frames; the next one receives it'],
    too_slow: ['bad', 'dropped', ({ queued_bytes: queued }) => `the client does not read: ${bytes(queued)} are queued, which is the limit`],
    broken: ['bad', 'dropped', () => 'the socket is broken'],
};

/** Why a returning client may miss frames. */
const LOSSES = {
    evicted: 'newer frames have displaced those that it missed',
    'not-kept': 'the channel keeps no frames, or kept none for a while',
    epoch: 'its position is from before a restart, or of a private stream that has ended',
    ahead: 'the stream has not reached its position',
    'joined-later': 'its position is older than the subscription',
};

/** Why a token was refused. */
const FAULTS = {
    missing: 'the client sent none',
    expired: 'it has expired',
    not_yet_valid: 'it is not valid yet; the clocks of the two servers differ',
    signature: 'its signature is wrong',
    key: 'no key of the server fits it',
    claims: 'its claims are not for this server or this connection',
    malformed: 'it is not a token',
    revoked: 'the application has revoked it',
};

/** What a client has of a stream, and whether it gets the rest. */
const returned = ({ from, offset, reason }) => (reason
    ? html` <span class="badge warn">not recovered</span> <span class="quiet">at ${number(from)} of ${number(offset)}; ${LOSSES[reason] ?? reason}</span>`
    : html` <span class="badge good">recovered</span> <span class="quiet">at ${number(from)} of ${number(offset)}</span>`);

const EVENTS = {
    attached: ({ transport, address }) => `Session over ${transport === 'longpoll' ? 'long-poll' : transport}${address ? ` from ${address}` : ''}`,
    listening: ({ channel, missed }) => `Listens to ${channel ?? 'private messages'}${missed ? `; ${plural(missed, 'frame')} missed` : ''}`,
    left: ({ channel }) => `No longer listens to ${channel}`,
    answered: ({ frames, bytes: size }) => `Answered the poll with ${plural(frames, 'frame')}, ${bytes(size)}`,
    taken: () => 'The client received the response',
    not_taken: () => 'The client disconnected before it received the response; the next poll repeats the frames',
    closed: ({ code, reason }) => `Closed${code ? ` with ${code}` : ''}${reason ? `: ${reason}` : ''}`,
    detached: () => 'The session has ended',
    token_accepted: ({ expires }) => `New token; it expires at ${moment(expires * 1_000)}`,
    token_refused: ({ reason }) => `Token refused: ${FAULTS[reason] ?? reason}`,
    token_expired: () => 'The token has expired',
};

export class Connection {
    constructor({ argument, changed }) {
        this.id = argument;
        this.title = `Connection ${argument.slice(0, 8)}`;
        this.changed = changed;
        this.recording = new Recording({ conn_id: argument }, changed);
        this.wanted = '';
        this.gone = false;
    }

    async load(signal) {
        try {
            this.connection = await get('/admin/connection.json', { conn_id: this.id }, signal);
            this.gone = false;
        } catch (error) {
            // The recorded events are still useful.
            if (!(error instanceof Gone) || !this.connection) {
                throw error;
            }
            this.gone = true;
        }
        if (!this.begun) {
            this.begun = true;
            await this.recording.resume();
        }
    }

    leave() {
        this.recording.leave();
    }

    template() {
        const { connection } = this;
        return html`
            <div class="detail-head">
                <a class="back" href=${href('connections')}>← Connections</a>
                <div class="row between">
                    <h1 class="page-title" tabindex="-1">${connection ? `Connection of ${connection.user}` : 'Connection'}</h1>
                    ${connection && !this.gone ? html`<button type="button" class="danger plain"
                        @click=${() => this.#disconnect()}>Disconnect…</button>` : ''}
                </div>
                <p class="mono small quiet">${this.id}</p>
                ${this.gone ? html`<p class="note warn">This connection has ended.</p>` : ''}
            </div>
            ${connection ? html`<div class="detail">${this.#recorder()}<div class="side">${this.#facts()}${this.#channels()}</div></div>`
                : html`<p class="empty">Loading…</p>`}`;
    }

    #facts() {
        const { connection } = this;
        const facts = [
            ['User', html`<a href=${href('user', connection.user)}>${connection.user}</a>`],
            ['Now', html`${phaseBadge(connection)} <span class="small quiet">${PHASES[connection.phase]}</span>`],
            ...(connection.node ? [['Node', connection.node]] : []),
            ['Address', connection.address ?? '–'],
            ['Compressed', connection.compressed ? 'yes' : 'no'],
            ['Since', since(connection.since)],
            ['Last active', since(connection.last_activity)],
            ['Queued', bytes(connection.queued_bytes)],
            ['Token', expiry(connection.token_expires)],
        ];
        return html`<section class="card" aria-labelledby="facts-title"><h2 id="facts-title">Facts</h2>
            <dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></section>`;
    }

    #channels() {
        const { channels: count, channel_names: names } = this.connection;
        return html`<section class="card" aria-labelledby="channels-title">
            <h2 id="channels-title">In ${plural(count, 'channel')}</h2>
            <ul class="plain-list">${names.map((name) => html`<li><a href=${href('channel', name)}>${name}</a></li>`)}</ul>
            ${count > names.length ? html`<p class="quiet small">and ${number(count - names.length)} more</p>` : ''}
        </section>`;
    }

    #recorder() {
        const { recording } = this;
        const state = recording.running ? (recording.problem ? 'wait' : 'open') : 'idle';
        return html`<section class="card" aria-labelledby="recorder-title">
            <div class="row between">
                <div class="row"><h2 id="recorder-title">Flight recorder</h2>
                    <span class="state" data-state=${state}>${recording.problem || (recording.running ? 'Recording' : 'Off')}</span></div>
                ${this.#switch()}
            </div>
            ${recording.running || recording.events.length ? this.#tape() : html`<p class="quiet">While a recording runs, the
                server stores every frame for this connection and its outcome: sent, queued, held back, dropped, or not
                addressed to its user. Earlier frames are not in the recording.</p>`}
        </section>`;
    }

    #switch() {
        const { recording, connection } = this;
        if (recording.running) {
            return html`<button type="button" class="small plain" @click=${() => this.#stop()}>Stop and discard…</button>`;
        }
        return connection.here
            ? html`<button type="button" class="small" @click=${() => this.#start()}>Record this connection</button>`
            : html`<p class="quiet small">The console of node ${connection.node} can record it.</p>`;
    }

    #tape() {
        const { recording, wanted } = this;
        const part = wanted.trim().toLowerCase();
        const found = part ? recording.events.filter((event) => event.uuid?.includes(part)) : recording.events;
        return html`
            <div class="find"><label for="find-message">Find a message by its id</label>
                <input id="find-message" type="search" autocomplete="off" spellcheck="false" class="mono" .value=${wanted}
                    @input=${(event) => { this.wanted = event.target.value; this.changed(false); }}></div>
            ${recording.missed ? html`<p class="note warn">${plural(recording.missed, 'event')} did not fit into the
                recorder’s memory.</p>` : ''}
            ${found.length ? html`<ol class="log frames" tabindex="0" aria-label="Events, newest first">
                ${repeat([...found].reverse(), (event) => event.number, eventLine)}</ol>`
                : html`<p class="empty">${part ? NOT_FOUND : 'There are no events yet.'}</p>`}`;
    }

    async #start() {
        await this.recording.start().catch((error) => notify(error.message, 'bad'));
    }

    async #stop() {
        const question = {
            title: 'Stop recording?',
            text: `This discards ${plural(this.recording.events.length, 'recorded event')}.`,
            action: 'Stop and discard',
        };
        if (await confirmLoss(question)) {
            await this.recording.stop().catch((error) => notify(error.message, 'bad'));
            this.recording.events = [];
            this.changed();
        }
    }

    async #disconnect() {
        const question = {
            title: 'Disconnect this connection?',
            text: `The server closes this connection of ${this.connection.user}. Undelivered messages are lost. `
                + 'The client may connect again.',
            action: 'Disconnect',
        };
        if (!await confirmLoss(question)) {
            return;
        }
        try {
            await command('/admin/disconnect', { conn_id: this.id });
            notify('The connection was closed.');
        } catch (error) {
            notify(error.message, 'bad');
        }
        this.changed();
    }
}

/** When a token expires, with the exact time as the tooltip. */
function expiry(unix) {
    if (unix === null) {
        return html`none <span class="small quiet">The connection does not expire.</span>`;
    }
    const isOver = unix * 1_000 <= Date.now();
    return html`<time title=${moment(unix * 1_000)}>${isOver
        ? html`<span class="badge warn">expired</span> <span class="small quiet">${ago(unix)} ago</span>`
        : `expires in ${ahead(unix)}`}</time>`;
}

const NOT_FOUND = 'No recorded event has this id. The message was published before the recording started, in a channel that '
    + 'this connection is not in, to other users without a channel, or while the connection had no session.';

function eventLine(event) {
    const time = html`<time>${timeOfDay(event.at_ms)}</time>`;
    if (event.event !== 'frame') {
        return html`<li data-event=${event.event}><div class="line">${time}<span class="grow"><b>${EVENTS[event.event]?.(event) ?? event.event}</b>${event.recovery ? returned(event.recovery) : ''}</span></div></li>`;
    }
    const [kind, label, reason] = OUTCOMES[event.outcome] ?? ['', event.outcome, () => ''];
    return html`<li data-event="frame" data-outcome=${event.outcome}><details>
        <summary>${time}<span class="badge ${kind}">${label}</span>
            <span class="grow">${event.type} by ${event.user ?? 'no user'} ${event.channel ? `in ${event.channel}` : '(private)'}</span>
            <span class="quiet">${bytes(event.bytes)}</span></summary>
        <p>${reason(event)}<br><span class="quiet">${event.uuid}</span></p>
    </details></li>`;
}
