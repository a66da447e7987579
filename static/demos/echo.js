/** The page of the echo: sends messages and compares them with the returned ones. */
import { byId } from '../dom.js';
import { Log } from './log.js';
import { reasonOf, showState, socketUrl } from './socket.js';

const MIB = 1 << 20;
/** The most bytes that one call of `crypto.getRandomValues` fills. */
const RANDOM_BYTES = 65_536;

const log = new Log(byId('log'));
/** Sent messages that have not come back yet. The echo keeps their order. */
let waiting = [];
let socket;

function connect() {
    showState('wait', 'Connecting…');
    waiting = [];
    socket = new WebSocket(socketUrl('/demo/echo'));
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
        showState('open', 'Connected');
        byId('toggle').textContent = 'Disconnect';
    };
    socket.onmessage = ({ data }) => received(data);
    socket.onclose = (event) => {
        showState('lost', `Closed (${reasonOf(event)})`);
        byId('toggle').textContent = 'Connect';
    };
}

const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');

/** Describes a message in a few words. */
function describe(data) {
    if (typeof data === 'string') {
        return `text ${JSON.stringify(data)}`;
    }
    const bytes = new Uint8Array(data);
    return bytes.length > 32 ? `${bytes.length} bytes` : `bytes ${hexadecimal(bytes) || '(none)'}`;
}

function isSame(one, other) {
    if (typeof one === 'string' || typeof other === 'string') {
        return one === other;
    }
    const [a, b] = [new Uint8Array(one), new Uint8Array(other)];
    return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function received(data) {
    const { sent, at } = waiting.shift() ?? {};
    const ms = (performance.now() - at).toFixed(1);
    log.add(isSame(sent, data) ? `${describe(data)}, the same after ${ms} ms` : `${describe(data)}, not the sent message`);
}

function send(data) {
    if (socket.readyState !== WebSocket.OPEN) {
        throw new Error('There is no connection.');
    }
    waiting.push({ sent: data, at: performance.now() });
    socket.send(data);
}

/** The form's message, as the chosen kind. */
function message() {
    const text = byId('message').value;
    if (byId('kind').value === 'json') {
        return JSON.stringify(JSON.parse(text));
    }
    if (byId('kind').value === 'text') {
        return text;
    }
    const digits = text.replace(/\s/g, '');
    if (!/^([0-9a-f]{2})*$/i.test(digits)) {
        throw new Error('Bytes are pairs of hexadecimal digits, such as 00 ff.');
    }
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16)).buffer;
}

function randomBytes(length) {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += RANDOM_BYTES) {
        crypto.getRandomValues(bytes.subarray(at, at + RANDOM_BYTES));
    }
    return bytes.buffer;
}

/** Sends the result of `make`, or shows why that fails. */
function attempt(make) {
    byId('problem').textContent = '';
    try {
        send(make());
    } catch (error) {
        byId('problem').textContent = error.message;
    }
}

byId('say').addEventListener('submit', (event) => {
    event.preventDefault();
    attempt(message);
});
byId('large').addEventListener('click', () => attempt(() => randomBytes(MIB)));
byId('toggle').addEventListener('click', () => {
    if (socket.readyState === WebSocket.OPEN) {
        socket.close(1000);
    } else {
        connect();
    }
});
connect();
