import { make } from './dom.js';

/** Colours come from other visitors, so anything but a plain colour is dropped. */
const plainColor = (color) => (/^#[0-9a-f]{6}$/i.test(color ?? '') ? color : null);

/** Sets the colour through the DOM, because the page's security policy allows no style attributes. */
export function named(user, color) {
    const element = make('span', { class: 'who', 'data-user': user }, user);
    if (color) {
        element.style.setProperty('--swatch', color);
    }
    return element;
}

/** The members of the channel, as a list and as the recipients in the select box. */
export class PeopleList {
    constructor(list, select) {
        this.list = list;
        this.select = select;
        this.me = null;
        this.people = new Map();
    }

    /** @param {{user: string, state: object}[]} users */
    reset(users) {
        this.people = new Map(users.map(({ user, state }) => [user, state ?? {}]));
        this.render();
    }

    add(user, state) {
        this.people.set(user, state);
        this.render();
    }

    remove(user) {
        this.people.delete(user);
        this.render();
    }

    colorOf(user) {
        return plainColor(this.people.get(user)?.color);
    }

    render() {
        const names = [...this.people.keys()].sort((a, b) => a.localeCompare(b));
        this.list.replaceChildren(...names.map((user) => this.row(user)));
        const chosen = this.select.value;
        const others = names.filter((user) => user !== this.me);
        this.select.replaceChildren(
            make('option', { value: '' }, 'Everyone'),
            ...others.map((user) => make('option', { value: user }, user)),
        );
        this.select.value = others.includes(chosen) ? chosen : '';
    }

    row(user) {
        const row = make('li', {}, named(user, this.colorOf(user)));
        row.append(user === this.me
            ? make('span', { class: 'quiet' }, 'you')
            : make('button', {
                type: 'button',
                class: 'plain small',
                'aria-label': `Write to ${user}`,
                onclick: () => this.writeTo(user),
            }, 'Write'));
        return row;
    }

    writeTo(user) {
        this.select.value = user;
        this.select.form.elements.text.focus();
    }
}
