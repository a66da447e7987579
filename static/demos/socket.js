import { base } from '../dom.js';

/** The longest pause between two attempts, in ms. */
const MAX_PAUSE = 30_000;

/** Where one of the demo's sockets is. */
export const socketUrl = (path) => `${base.replace(/^http/, 'ws')}${path}`;

/** Why a socket was closed, in a sentence's end. */
export const reasonOf = ({ code, reason }) => (reason ? `${code}, ${reason}` : String(code));

/**
 * A socket that comes back: after a loss it waits longer and longer, each time for a random part of the pause, so
 * that a thousand pages do not come back in the same moment.
 */
export class LastingSocket {
    #pause = 1000;

    constructor(path, { onState, onMessage }) {
        this.path = path;
        this.onState = onState;
        this.onMessage = onMessage;
        this.connect();
    }

    connect() {
        this.onState('wait', 'Connecting…');
        this.socket = new WebSocket(socketUrl(this.path));
        this.socket.binaryType = 'arraybuffer';
        this.socket.onopen = () => {
            this.#pause = 1000;
            this.onState('open', 'Connected');
        };
        this.socket.onmessage = ({ data }) => this.onMessage(data);
        this.socket.onclose = () => {
            this.onState('lost', 'Connection lost, trying again…');
            setTimeout(() => this.connect(), Math.random() * this.#pause);
            this.#pause = Math.min(this.#pause * 2, MAX_PAUSE);
        };
    }

    /** Sends a text, if the socket is open. Tells whether it was. */
    send(text) {
        const open = this.socket.readyState === WebSocket.OPEN;
        if (open) {
            this.socket.send(text);
        }
        return open;
    }
}

/** Shows a state in the element with the id `state`. */
export function showState(state, text) {
    const element = document.getElementById('state');
    element.dataset.state = state;
    element.textContent = text;
}
