/** A recording of a channel or connection. A command starts it, and long polls fetch its events. */
import { Gone, SignedOut, command, get } from './api.js';

const WAIT_S = 20;
const RETRY_MS = 2_000;
/** The most events that the page keeps. The server does not keep more for long either. */
const KEEP = 500;

export class Recording {
    /** @param {{channel: string}|{conn_id: string}} subject @param {() => void} changed */
    constructor(subject, changed) {
        Object.assign(this, { subject, changed, events: [], running: false, missed: 0, problem: '' });
    }

    async start() {
        await command('/admin/record', { ...this.subject, on: true });
        this.stopped = new AbortController();
        this.running = true;
        this.problem = '';
        this.changed();
        this.#follow(this.stopped.signal);
    }

    /** Continues a recording that is already running. */
    async resume() {
        const { recording } = await get('/admin/recording.json', this.subject);
        if (recording) {
            await this.start();
        }
    }

    /** Stops fetching. The server ends an unused recording by itself. */
    leave() {
        this.running = false;
        this.stopped?.abort();
    }

    async stop() {
        this.leave();
        await command('/admin/record', { ...this.subject, on: false });
        this.changed();
    }

    async #follow(signal) {
        while (!signal.aborted) {
            try {
                const after = this.events.at(-1)?.number ?? 0;
                const answer = await get('/admin/recording.json', { ...this.subject, after, wait_s: WAIT_S }, signal);
                if (!answer.recording) {
                    this.running = false;
                    this.problem = 'The server has ended this recording.';
                    this.changed();
                    return;
                }
                this.missed += answer.missed;
                this.events = [...this.events, ...answer.events].slice(-KEEP);
                this.problem = '';
            } catch (error) {
                if (signal.aborted || error instanceof SignedOut || error instanceof Gone) {
                    return;
                }
                this.problem = `Trying again. ${error.message}`;
                await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
            }
            this.changed();
        }
    }
}
