import { Backoff, boundOf } from './backoff.js';

/** The least time between attempts that events of the page bring forward. */
const HURRY_MS = 1_000;

/** The longest wait that `Retry-After` may request. */
const ASKED_LIMIT_MS = 300_000;

/** Schedules the next attempt after a failure. At most one step waits at a time. */
export class Retry {
    /**
     * @param {{increaseBounceIv: number, maxReconnectDelayMs: number}} settings read at each wait
     * @param {(wait: {attempt: number, delayMs: number, name: string}) => void} onWait called with each wait
     */
    constructor(settings, onWait) {
        this.settings = settings;
        this.onWait = onWait;
        this.backoff = new Backoff();
        /** @type {(() => void) | null} */
        this.step = null;
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.timer = undefined;
        this.lastAttemptAt = -Infinity;
    }

    /**
     * @param {string} name
     * @param {() => void} step
     * @param {{now?: boolean, atLeastMs?: number}} [how] `now`: without a wait
     */
    schedule(name, step, { now = false, atLeastMs = 0 } = {}) {
        const delayMs = now ? 0 : Math.max(this.waitMs(), Math.min(atLeastMs, ASKED_LIMIT_MS));
        this.onWait({ attempt: Math.max(1, this.backoff.failures), delayMs, name });
        this.arm(step, delayMs);
    }

    /** While the browser reports that it is offline, attempts are rare but do not stop: the report may be wrong. */
    waitMs() {
        const { increaseBounceIv, maxReconnectDelayMs } = this.settings;
        const waitMs = this.backoff.next(increaseBounceIv, maxReconnectDelayMs);
        return globalThis.navigator?.onLine === false ? boundOf(maxReconnectDelayMs) : waitMs;
    }

    /**
     * @param {() => void} step
     * @param {number} delayMs
     */
    arm(step, delayMs) {
        clearTimeout(this.timer);
        this.step = step;
        this.timer = setTimeout(() => {
            this.step = null;
            this.lastAttemptAt = Date.now();
            step();
        }, delayMs);
    }

    /** Runs the waiting step immediately, because the chances have improved. */
    retrySoon() {
        if (this.step) {
            this.arm(this.step, Math.max(0, this.lastAttemptAt + HURRY_MS - Date.now()));
        }
    }

    cancel() {
        clearTimeout(this.timer);
        this.step = null;
    }

    /** Must be called when the server is known to be reachable. */
    succeeded() {
        this.backoff.reset();
    }
}
