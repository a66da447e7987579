import { make } from '../dom.js';

/** Older lines are removed, because a tab may stay open for days. */
const MAX_LINES = 200;
/** Longer lines are shortened, with a note of their length. */
const MAX_LENGTH = 2000;

const cut = (text) => (text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}… (${text.length} characters)` : text);

/** Lines of text in a list. The newest is at the end, and the list follows it unless the reader has scrolled back. */
export class Log {
    constructor(list) {
        this.list = list;
    }

    add(text) {
        const { list } = this;
        const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
        list.append(make('li', {}, cut(text)));
        while (list.childElementCount > MAX_LINES) {
            list.firstElementChild.remove();
        }
        if (follows) {
            list.scrollTop = list.scrollHeight;
        }
    }
}
