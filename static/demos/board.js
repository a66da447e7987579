/** The page of the channel board: the frames of its socket, and the calls that cause them. */
import { base, byId, make } from '../dom.js';
import { Log } from './log.js';
import { LastingSocket, showState } from './socket.js';

const shown = (id) => id || '(no name)';

/** The list of channels, each with a checkbox to subscribe and a button to delete it. */
class ChannelList {
    constructor(list, select, { onSubscribe, onDelete }) {
        Object.assign(this, { list, select, onSubscribe, onDelete });
        this.rows = new Map();
    }

    clear() {
        [...this.rows.keys()].forEach((id) => this.remove(id));
    }

    add(id) {
        if (this.rows.has(id)) {
            return;
        }
        const box = make('input', { type: 'checkbox', onchange: () => this.onSubscribe(id, box.checked) });
        const name = shown(id);
        const button = make('button', {
            type: 'button', class: 'plain small danger', 'aria-label': `Delete ${name}`, onclick: () => this.onDelete(id),
        }, 'Delete');
        const row = make('li', {}, make('label', { class: 'check' }, box, make('span', {}, name)), button);
        const option = make('option', { value: id }, name);
        this.rows.set(id, { row, option });
        this.list.append(row);
        this.select.append(option);
        this.count();
    }

    remove(id) {
        const { row, option } = this.rows.get(id) ?? {};
        row?.remove();
        option?.remove();
        this.rows.delete(id);
        this.count();
    }

    count() {
        byId('none').hidden = this.rows.size > 0;
        this.select.disabled = this.rows.size === 0;
    }
}

const log = new Log(byId('log'));
const channels = new ChannelList(byId('channels'), byId('channel'), {
    onSubscribe: (id, wanted) => board.send(`${wanted ? 'sub' : 'pop'}${id}`),
    onDelete: (id) => call(`del-channel?id=${encodeURIComponent(id)}`),
});
const board = new LastingSocket('/demo/board/socket', {
    onState: (state, text) => {
        showState(state, text);
        if (state === 'wait') {
            // The new socket receives all channels again, and has no subscriptions.
            channels.clear();
        }
    },
    onMessage: (data) => {
        log.add(data);
        const { t, id } = JSON.parse(data);
        if (t === 'new') {
            channels.add(id);
        } else if (t === 'del') {
            channels.remove(id);
        }
    },
});

/** Calls the board and shows the response. */
async function call(path, options) {
    const answer = byId('answer');
    try {
        const reply = await fetch(`${base}/demo/board/${path}`, options);
        answer.className = reply.ok ? 'note good' : 'note bad';
        answer.textContent = `${reply.status}: ${await reply.text()}`;
        return reply.ok;
    } catch {
        answer.className = 'note bad';
        answer.textContent = 'The server cannot be reached.';
        return false;
    }
}

byId('create').addEventListener('submit', async (event) => {
    event.preventDefault();
    const name = byId('name');
    if (await call(`new-channel?id=${encodeURIComponent(name.value)}`)) {
        name.value = '';
    }
    name.focus();
});
byId('push').addEventListener('submit', (event) => {
    event.preventDefault();
    call(`push/${encodeURIComponent(byId('channel').value)}`, { method: 'POST', body: byId('value').value });
});
channels.count();
