import { localTime, make } from './dom.js';
import { named } from './demo-people.js';

/** Older lines are removed, because a tab may stay open for days. */
const MAX_LINES = 300;

const smallButton = (text, onclick) => make('button', { type: 'button', class: 'plain small', onclick }, text);

/** The messages and the events between them, one line each, indexed by uuid. */
export class MessageList {
    constructor(list, { colorOf, onEdit, onDelete }) {
        this.list = list;
        this.colorOf = colorOf;
        this.onEdit = onEdit;
        this.onDelete = onDelete;
        this.me = null;
        this.lines = new Map();
    }

    /** Adds a message. A message that is already shown (from the history after a reconnect) is replaced. */
    add(message) {
        this.put(message.uuid, message, this.render(message));
    }

    /** Applies an edit, which contains only the changed keys. */
    change(edit) {
        const line = this.lines.get(edit.uuid);
        if (line?.message) {
            this.add({ ...line.message, ...edit });
        }
    }

    remove(uuid) {
        this.lines.get(uuid)?.element.remove();
        this.lines.delete(uuid);
    }

    note(uuid, text) {
        this.put(uuid, null, make('li', { class: 'event' }, text));
    }

    recolor() {
        for (const { message, element } of this.lines.values()) {
            if (message) {
                element.querySelector('.who').replaceWith(named(message.user, this.colorOf(message.user)));
            }
        }
    }

    put(uuid, message, element) {
        const old = this.lines.get(uuid);
        const view = this.list.parentElement;
        const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
        this.lines.set(uuid, { message, element });
        if (old) {
            old.element.replaceWith(element);
        } else {
            this.list.append(element);
        }
        if (this.lines.size > MAX_LINES) {
            this.remove(this.lines.keys().next().value);
        }
        if (atEnd) {
            view.scrollTop = view.scrollHeight;
        }
    }

    render(message) {
        const own = message.user === this.me;
        const text = String(message.message?.text ?? '');
        const line = make('li', { class: own ? 'own' : null, 'data-uuid': message.uuid });
        line.append(this.head(message, own, line), make('p', {}, text));
        return line;
    }

    head(message, own, line) {
        const head = make('header', {}, named(message.user, this.colorOf(message.user)));
        const time = localTime(message.timestamp);
        if (time) {
            head.append(make('time', { datetime: time.toISOString() }, time.toLocaleTimeString()));
        }
        const to = message.message?.to;
        if (to) {
            head.append(make('span', { class: 'badge' }, `private, to ${to === this.me ? 'you' : to}`));
        }
        if (message.edited) {
            head.append(make('span', {}, 'edited'));
        }
        if (own) {
            head.append(make('span', { class: 'tools' },
                smallButton('Edit', () => this.open(message, line)),
                smallButton('Delete', () => this.onDelete(message))));
        }
        return head;
    }

    /** Replaces the text with a form. */
    open(message, line) {
        const input = make('input', { 'aria-label': 'New text', required: true, maxlength: 2000 });
        input.value = message.message?.text ?? '';
        const close = () => {
            const current = this.lines.get(message.uuid);
            if (current?.element === line) {
                this.put(message.uuid, current.message, this.render(current.message));
            }
        };
        const form = make('form', {
            onsubmit: (event) => {
                event.preventDefault();
                this.onEdit(message, input.value);
                close();
            },
            onkeydown: (event) => event.key === 'Escape' && close(),
        }, input, make('button', { class: 'small' }, 'Save'),
        smallButton('Cancel', close));
        line.replaceChildren(form);
        input.focus();
    }
}
