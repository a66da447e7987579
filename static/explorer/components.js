/** Parts of Swagger UI that are other here: less of them, with the page's own classes, and for every reader. */

/** @param {{React: object}} system Swagger UI's own parts */
export function components({ React: { createElement: element } }) {
    const nothing = () => null;

    /** Endpoints by tag, and the named schemas; head, search and secret are the page's. */
    function ExplorerLayout({ getComponent, specSelectors }) {
        const parts = ['operations', 'Models'].map((name) => element(getComponent(name, true), { key: name }));
        const isEmpty = specSelectors.taggedOperations().size === 0;
        const empty = isEmpty ? element('p', { key: 'empty', className: 'empty' }, 'No endpoint of that kind.') : null;
        return element('div', { className: 'swagger-ui' }, element(getComponent('errors', true)), empty, ...parts);
    }

    /** Code in the colours of the page; it scrolls by keyboard as well. */
    function SyntaxHighlighter({ children, className }) {
        return element('pre', { className: `code wrap ${className ?? ''}`, tabIndex: 0 }, children);
    }

    /** Without a link: it would stand in a button. */
    const DeepLink = ({ text }) => element('span', null, text);

    /** The page asks for the secret once and for all; here it only says where it is needed. */
    const authorizeOperationBtn = () => element('span', { className: 'badge accent' }, 'signed');

    return {
        components: { ExplorerLayout, SyntaxHighlighter, DeepLink, authorizeOperationBtn, JumpToPath: nothing },
    };
}
