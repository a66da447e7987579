/** Confirmation dialogs before data is lost, and short notes after commands. */
import { byId, make } from '../dom.js';

const NOTE_MS = 8_000;

/**
 * Asks for confirmation before data is lost. Cancel has the focus, and Escape cancels too.
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

/** Shows the result of a command. Screen readers announce it. */
export function notify(text, kind = 'good') {
    const note = make('p', { class: `note ${kind}` }, text);
    byId('toasts').append(note);
    setTimeout(() => note.remove(), NOTE_MS);
}
