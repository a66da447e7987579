import { startDemo } from './demo.js';

if (document.body.dataset.demo === 'true') {
    startDemo();
}
