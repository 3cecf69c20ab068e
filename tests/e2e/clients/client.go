// SPDX-License-Identifier: MIT

// Go's own client through a proxy. Usage: client PROXY CA HTTP-URL HTTPS-URL
// Prints one line a step; the test compares them.
package main

import (
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
)

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func get(client *http.Client, target string) string {
	response, err := client.Get(target)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	return fmt.Sprintf("%s %d %q", response.Proto, response.StatusCode, body)
}

func main() {
	proxy, err := url.Parse(os.Args[1])
	check(err)
	pem, err := os.ReadFile(os.Args[2])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// asked for h2, Go offers it to an https proxy too, which it then cannot speak it to ("http2: unsupported scheme")
	inner := proxy.Scheme != "https"
	client := &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyURL(proxy),
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2:   inner,
		MaxIdleConnsPerHost: 10,
	}}
	fmt.Println("http:", get(client, os.Args[3]+"/small.txt"))
	fmt.Println("https:", get(client, os.Args[4]+"/small.txt"))

	// a body of unknown length: Go sends chunks
	body := bytes.Repeat([]byte("0123456789"), 500000)
	request, err := http.NewRequest("PUT", os.Args[3]+"/upload/go", io.MultiReader(bytes.NewReader(body)))
	check(err)
	response, err := client.Do(request)
	check(err)
	response.Body.Close()
	fmt.Println("put:", response.StatusCode < 300)
	fmt.Printf("sha1: %x\n", sha1.Sum(body))

	var all sync.WaitGroup
	bad := make(chan string, 100)
	for i := 0; i < 100; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			response, err := client.Get(fmt.Sprintf("%s/small.txt?%d", os.Args[3], i))
			if err != nil {
				bad <- err.Error()
				return
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode != 200 {
				bad <- response.Status
			}
		}(i)
	}
	all.Wait()
	close(bad)
	for text := range bad {
		fmt.Println("bad:", text)
	}
	fmt.Println("done")
}
