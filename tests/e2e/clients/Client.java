// SPDX-License-Identifier: MIT
// Java's own client through a proxy. Usage: java Client.java HOST PORT CA HTTP-URL HTTPS-URL
import java.io.FileInputStream;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    public static void main(String[] args) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(args[2])));
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        HttpClient client = HttpClient.newBuilder().sslContext(context)
            .proxy(ProxySelector.of(new InetSocketAddress(args[0], Integer.parseInt(args[1])))).build();
        for (String url : new String[] {args[3], args[4]}) {
            HttpResponse<String> answer = client.send(HttpRequest.newBuilder(URI.create(url + "/small.txt")).build(), HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body().trim());
        }
        HttpResponse<String> put = client.send(HttpRequest.newBuilder(URI.create(args[3] + "/upload/java"))
            .PUT(HttpRequest.BodyPublishers.ofByteArray(new byte[3000000])).build(), HttpResponse.BodyHandlers.ofString());
        System.out.println("put " + (put.statusCode() < 300));
        ArrayList<CompletableFuture<Integer>> many = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            String url = (i % 2 == 0 ? args[3] : args[4]) + "/small.txt?" + i;
            many.add(client.sendAsync(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.discarding()).thenApply(HttpResponse::statusCode));
        }
        System.out.println("many " + many.stream().allMatch(f -> f.join() == 200));
    }
}
