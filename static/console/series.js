/** Past values of the figures, in the form that the charts need. */

/** A sample that deviates by more than this many seconds makes the page compare the clocks again. */
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

    /** @param {object} series `series` of admin.json; @param {number} keep the most samples to keep */
    take({ first, last, names, samples }, keep) {
        const follows = first === this.last + 1;
        if (!follows) {
            // The server has restarted, or this page was suspended for too long.
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
