// SPDX-License-Identifier: MIT
// Node's own client through a proxy. Usage: client.js PROXY-HOST PROXY-PORT CA HTTP-URL HTTPS-URL
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');

const [proxyHost, proxyPort, ca, httpUrl, httpsUrl] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

function read(response) {
    return new Promise((resolve, reject) => {
        let text = '';
        response.on('data', (data) => { text += data; });
        response.on('end', () => resolve({ status: response.statusCode, text, version: response.httpVersion }));
        response.on('error', reject);
        response.on('aborted', () => reject(new Error('aborted')));
    });
}

// absolute-form, as node has no proxy of its own
function forward(url, options = {}, body = []) {
    return new Promise((resolve, reject) => {
        const request = http.request({
            agent, host: proxyHost, port: proxyPort, path: url, headers: { Host: new URL(url).host }, ...options,
        });
        request.on('response', (response) => read(response).then(resolve, reject));
        request.on('error', reject);
        for (const part of body) request.write(part);
        request.end();
    });
}

function tunnel(authority) {
    return new Promise((resolve, reject) => {
        const request = http.request({ host: proxyHost, port: proxyPort, method: 'CONNECT', path: authority });
        request.on('connect', (response, socket, head) => {
            if (response.statusCode !== 200) reject(new Error(`CONNECT: ${response.statusCode}`));
            else resolve({ socket, early: head.length });
        });
        request.on('error', reject);
        request.end();
    });
}

async function main() {
    console.log('http', JSON.stringify(await forward(`${httpUrl}/small.txt`)));
    const put = await forward(`${httpUrl}/upload/node`, { method: 'PUT' }, ['one ', 'two ', 'three']);
    console.log('put', put.status < 300);
    const many = await Promise.all(Array.from({ length: 100 }, (_, i) => forward(`${httpUrl}/small.txt?${i}`)));
    console.log('many', many.every((r) => r.status === 200));
    const { socket, early } = await tunnel(new URL(httpsUrl).host);
    console.log('early', early);
    const inner = await new Promise((resolve, reject) => {
        https.get(`${httpsUrl}/small.txt`, { socket, agent: false, ca: fs.readFileSync(ca) }, (r) => read(r).then(resolve, reject))
            .on('error', reject);
    });
    console.log('https', JSON.stringify(inner));
    socket.destroy();
    agent.destroy();
}

main().catch((error) => { console.log('error', error.stack); process.exit(1); });
