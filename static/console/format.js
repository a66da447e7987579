/** Human-readable numbers, sizes and times. */

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const clockWithSeconds = new Intl.DateTimeFormat(undefined, {
    hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
});
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export const number = (value) => (value === null || value === undefined ? '–' : whole.format(value));

/** Formats a rate, with one decimal place below 10. */
export const rate = (value) => (value < 10 ? fine : whole).format(value);

export const percent = (value) => `${rate(value)} %`;

export function bytes(value) {
    if (value === null || value === undefined) {
        return '–';
    }
    let [size, unit] = [value, 'B'];
    for (const next of ['KB', 'MB', 'GB', 'TB']) {
        if (size < 1_000) {
            break;
        }
        [size, unit] = [size / 1_000, next];
    }
    return `${unit === 'B' ? whole.format(size) : rate(size)} ${unit}`;
}

/** Formats a configured size in the largest unit in which it is a whole number. */
export function binary(value) {
    const units = [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB'], [1, 'B']];
    const [size, unit] = units.find(([size]) => value >= size && value % size === 0) ?? [1, 'B'];
    return `${whole.format(value / size)} ${unit}`;
}

/** Formats a configured time in the same way. */
export const milliseconds = (value) => (value % 1_000 === 0 ? `${whole.format(value / 1_000)} s` : `${whole.format(value)} ms`);

export const timeOfDay = (date) => clockWithSeconds.format(date);

export const hourAndMinute = (date) => clock.format(date);

export const moment = (date) => dateAndTime.format(date);

/** Formats a time span in seconds in the largest unit of which it has at least one. */
function span(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    const units = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];
    const [size, unit] = units.find(([least]) => whole >= least) ?? [1, 's'];
    return `${Math.floor(whole / size)} ${unit}`;
}

/** How long ago a Unix time in seconds is. */
export const ago = (unix) => (unix === null || unix === undefined ? '–' : span(Date.now() / 1_000 - unix));

/** In how long a Unix time in seconds is. */
export const ahead = (unix) => span(unix - Date.now() / 1_000);

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
