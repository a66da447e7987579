/** The page of the chat: shows received messages, and sends the typed ones. */
import { byId } from '../dom.js';
import { Log } from './log.js';
import { LastingSocket, showState } from './socket.js';

const log = new Log(byId('log'));
const chat = new LastingSocket('/demo/chat', {
    onState: showState,
    onMessage: (data) => log.add(typeof data === 'string' ? data : `(${data.byteLength} bytes)`),
});

byId('name').value = `guest-${Math.floor(1000 + Math.random() * 9000)}`;
byId('say').addEventListener('submit', (event) => {
    event.preventDefault();
    const [name, message] = [byId('name').value.trim(), byId('message')];
    // The page does not add the message itself. It comes back from the server, which proves that it arrived.
    if (chat.send(name ? `${name}: ${message.value}` : message.value)) {
        message.value = '';
    }
    message.focus();
});
