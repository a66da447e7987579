/** Opens the websocket endpoint and shows each frame that arrives. */
import { make } from '../dom.js';

/** Frames kept on the page. */
const MAX_FRAMES = 200;

function open(address, place) {
    const state = make('p', { class: 'state', 'data-state': 'wait', role: 'status' }, 'Opening');
    const log = make('ol', { class: 'log', tabindex: '0', 'aria-label': 'Received frames' });
    place.replaceChildren(state, log);
    const show = (name, text) => {
        state.dataset.state = name;
        state.textContent = text;
    };
    const socket = new WebSocket(address);
    socket.addEventListener('open', () => show('open', 'Open'));
    socket.addEventListener('close', ({ code, reason }) => {
        show('lost', `Closed with ${code}${reason ? `: ${reason}` : ''}`);
    });
    socket.addEventListener('message', ({ data }) => {
        log.append(make('li', { class: 'mono' }, data));
        while (log.childElementCount > MAX_FRAMES) {
            log.firstElementChild.remove();
        }
        log.scrollTop = log.scrollHeight;
    });
    return socket;
}

/**
 * @param {HTMLFormElement} form has a field for the id of a connection, and an element for the frames
 * @param {string} base the address of the server
 */
export function startListening(form, base) {
    const button = form.querySelector('button');
    const [id, place] = [form.querySelector('input'), form.querySelector('#frames')];
    let socket = null;
    form.addEventListener('submit', (event) => {
        event.preventDefault();
        if (socket) {
            socket.close(1000);
            return;
        }
        socket = open(`${base.replace(/^http/, 'ws')}/ws?conn_id=${encodeURIComponent(id.value.trim())}`, place);
        button.textContent = 'Close the socket';
        socket.addEventListener('close', () => {
            socket = null;
            button.textContent = 'Open a socket';
        });
    });
}
