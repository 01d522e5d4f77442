import { defineConfig } from 'vite';

// Relative addresses: the page also works below a path of another site. In development, `make serve` answers the API.
export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    chunkSizeWarningLimit: 1500,
    license: { fileName: 'licenses.md' },
  },
  server: { proxy: { '/v1': 'http://127.0.0.1:8000' } },
});
