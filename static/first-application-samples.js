import { base, make } from './dom.js';

/** The first line of a part of a file: `# == connect ==`, with `//` in some languages. */
const MARK = /^(?:#|\/\/) == (\w+) ==$/;

/** A file's parts by name. */
export function parts(text) {
    const found = new Map();
    let lines = [];
    for (const line of text.split('\n')) {
        const [, name] = line.match(MARK) ?? [];
        if (name) {
            lines = [];
            found.set(name, lines);
        } else {
            lines.push(line);
        }
    }
    return new Map([...found].map(([name, part]) => [name, part.join('\n').trim()]));
}

function block(code, label) {
    const copy = make('button', { type: 'button', class: 'small plain' }, 'Copy');
    copy.addEventListener('click', async () => {
        await navigator.clipboard.writeText(code);
        copy.textContent = 'Copied';
        setTimeout(() => { copy.textContent = 'Copy'; }, 2000);
    });
    return make('div', { class: 'code-block' },
        make('pre', { tabindex: '0', role: 'region', 'aria-label': label }, make('code', {}, code)), copy);
}

/**
 * Shows each sample in the chosen language. The project's tests run the same files.
 *
 * @param {HTMLSelectElement} chooser its values name the files
 * @param {Iterable<HTMLElement>} places `data-sample` names the part
 */
export function showSamples(chooser, places) {
    const show = async () => {
        const reply = await fetch(`${base}/static/first-application/${chooser.value}`);
        const found = parts(await reply.text());
        for (const place of places) {
            const name = place.dataset.sample;
            const label = `${chooser.selectedOptions[0].text}: ${name}`;
            place.replaceChildren(block(found.get(name) ?? '', label));
        }
    };
    chooser.addEventListener('change', show);
    return show();
}
