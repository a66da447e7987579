/** Questions before something is lost, and short notes afterwards. */
import { byId, make } from '../dom.js';

const NOTE_MS = 8_000;

/**
 * Asks before something is lost. The way back has the focus, and Escape takes it.
 *
 * @param {{title: string, text: string, action: string}} question
 * @returns {Promise<boolean>}
 */
export function confirmLoss({ title, text, action }) {
    return new Promise((resolve) => {
        const dialog = make('dialog', { 'aria-labelledby': 'confirm-title', 'aria-describedby': 'confirm-text' },
            make('h2', { id: 'confirm-title' }, title),
            make('p', { id: 'confirm-text' }, text),
            make('form', { method: 'dialog', class: 'actions' },
                make('button', { class: 'plain', value: '', autofocus: true }, 'Cancel'),
                make('button', { class: 'danger', value: 'yes' }, action)));
        dialog.addEventListener('close', () => {
            dialog.remove();
            resolve(dialog.returnValue === 'yes');
        });
        document.body.append(dialog);
        dialog.showModal();
    });
}

/** Tells what came of a command; a screen reader says it as well. */
export function tell(text, kind = 'good') {
    const note = make('p', { class: `note ${kind}` }, text);
    byId('toasts').append(note);
    setTimeout(() => note.remove(), NOTE_MS);
}
