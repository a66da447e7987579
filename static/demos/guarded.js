/** The page of the guarded echo: fetches a token, and opens a socket with or without it. */
import { base, byId } from '../dom.js';
import { Log } from './log.js';
import { reasonOf, showState, socketUrl } from './socket.js';

const log = new Log(byId('log'));
let socket = null;

function allowSending(allowed) {
    byId('message').disabled = !allowed;
    byId('send').disabled = !allowed;
}

function connect(token) {
    socket?.close(1000);
    let accepted = false;
    const opening = new WebSocket(socketUrl(`/demo/guarded/echo?token=${encodeURIComponent(token)}`));
    socket = opening;
    showState('wait', 'Connecting…');
    opening.onopen = () => {
        accepted = true;
        showState('open', 'Connected');
        log.add('Accepted: the socket is open.');
        allowSending(true);
    };
    opening.onmessage = ({ data }) => log.add(`Returned: ${data}`);
    opening.onclose = (event) => {
        if (socket !== opening) {
            return;
        }
        allowSending(false);
        showState('lost', accepted ? `Closed (${reasonOf(event)})` : 'Refused');
        if (!accepted) {
            // Browsers hide the response to a handshake from pages.
            log.add('The server refused the handshake.');
        }
    };
}

byId('give').addEventListener('click', async () => {
    try {
        const answer = await fetch(`${base}/demo/guarded/token`, { method: 'POST' });
        const { token, expires_in: seconds } = await answer.json();
        byId('token').value = token;
        log.add(`Received a token, valid for ${seconds} s.`);
    } catch {
        log.add('The server did not issue a token.');
    }
});
byId('open').addEventListener('submit', (event) => {
    event.preventDefault();
    connect(byId('token').value);
});
byId('say').addEventListener('submit', (event) => {
    event.preventDefault();
    socket.send(byId('message').value);
});
