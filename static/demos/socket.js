import { base } from '../dom.js';

/** The longest pause between two attempts, in ms. */
const MAX_PAUSE = 30_000;

/** The address of a demo's socket. */
export const socketUrl = (path) => `${base.replace(/^http/, 'ws')}${path}`;

/** The close code and reason of a socket. */
export const reasonOf = ({ code, reason }) => (reason ? `${code}, ${reason}` : String(code));

/**
 * A socket that reconnects. The pause grows after each loss, and the socket waits a random part of it, so that many
 * pages do not reconnect at the same moment.
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

    /** Sends a text if the socket is open. Returns whether it was open. */
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
