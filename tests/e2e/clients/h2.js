// SPDX-License-Identifier: MIT
// Node's http2 module as a client of an h2 proxy. Usage: h2.js PROXY-URL CA PLAIN-URL TUNNEL-AUTHORITY WEBSOCKET-AUTHORITY
'use strict';
const fs = require('fs');
const http2 = require('http2');
const tls = require('tls');

const [proxyUrl, ca, plainUrl, authority, echo] = process.argv.slice(2);
const pem = fs.readFileSync(ca);
const session = http2.connect(proxyUrl, { ca: pem });

function read(stream) {
    return new Promise((resolve, reject) => {
        let text = '';
        let status;
        stream.on('response', (headers) => { status = headers[':status']; });
        stream.on('data', (data) => { text += data; });
        stream.on('end', () => resolve({ status, text }));
        stream.on('error', reject);
    });
}

function get(path) {
    const url = new URL(plainUrl);
    return read(session.request({ ':method': 'GET', ':scheme': 'http', ':authority': url.host, ':path': path }));
}

async function main() {
    console.log('plain', JSON.stringify(await get('/small.txt')));
    const many = await Promise.all(Array.from({ length: 100 }, (_, i) => get(`/small.txt?${i}`)));
    console.log('many', many.every((r) => r.status === 200));

    const tunnel = session.request({ ':method': 'CONNECT', ':authority': authority }, { endStream: false });
    await new Promise((resolve, reject) => { tunnel.on('response', resolve); tunnel.on('error', reject); });
    const inner = tls.connect({ socket: tunnel, ca: pem, servername: 'origin.test', ALPNProtocols: ['http/1.1'] });
    inner.write('GET /small.txt HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n');
    let text = '';
    await new Promise((resolve, reject) => { inner.on('data', (d) => { text += d; }); inner.on('end', resolve); inner.on('error', reject); });
    console.log('tunnel', text.startsWith('HTTP/1.1 200') && text.endsWith('hello from the origin\n'));

    await new Promise((resolve) => (session.remoteSettings.enableConnectProtocol ? resolve() : session.once('remoteSettings', resolve)));
    console.log('extended', session.remoteSettings.enableConnectProtocol);
    const ws = session.request({
        ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'http', ':authority': echo, ':path': '/chat', 'sec-websocket-version': '13',
    }, { endStream: false });
    const status = await new Promise((resolve, reject) => { ws.on('response', (h) => resolve(h[':status'])); ws.on('error', reject); });
    // a masked text frame with a mask of zeros
    ws.write(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from('hello')]));
    const frame = await new Promise((resolve) => ws.once('data', resolve));
    console.log('websocket', status, frame.subarray(2).toString());
    ws.close();
    tunnel.close();
    session.destroy();
}

main().catch((error) => { console.log('error', error.stack); process.exit(1); });
