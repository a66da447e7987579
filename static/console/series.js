/** What the figures were, as the charts draw it. */

/** More than this from where a sample should be, in seconds, and the clocks are compared anew. */
const DRIFT_S = 3;

export class Series {
    constructor(stepS) {
        this.stepS = stepS;
        this.reset();
    }

    reset() {
        this.last = 0;
        this.origin = null;
        this.samples = [];
        this.names = [];
    }

    /** @param {object} excerpt `series` of admin.json; @param {number} keep samples at most */
    take({ first, last, names, samples }, keep) {
        const follows = first === this.last + 1;
        if (!follows) {
            // Another server than before, or this page has slept too long.
            this.reset();
        }
        this.names = names;
        this.last = last;
        this.samples = [...this.samples, ...samples].slice(-keep);
        const origin = Date.now() / 1_000 - last * this.stepS;
        if (this.origin === null || Math.abs(origin - this.origin) > this.stepS + DRIFT_S) {
            this.origin = origin;
        }
    }

    /** Times and values of one figure, for uPlot. */
    points(name) {
        const column = this.names.indexOf(name);
        const firstNumber = this.last - this.samples.length + 1;
        return [
            this.samples.map((_, index) => this.origin + (firstNumber + index) * this.stepS),
            this.samples.map((sample) => sample[column]),
        ];
    }

    values(name) {
        const column = this.names.indexOf(name);
        return this.samples.map((sample) => sample[column]);
    }
}
