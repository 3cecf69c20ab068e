POST http://example.com/ HTTP/1.1
Host: example.com
Transfer-Encoding: chunked
Content-Length: 4

5c
GPOST / HTTP/1.1

0

