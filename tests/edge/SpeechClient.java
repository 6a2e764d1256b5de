// Java's standard client with its defaults, which offer HTTP/2 to every server: POST, GET and a WebSocket.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

public class SpeechClient {
    public static void main(String[] arguments) throws Exception {
        String host = arguments[0];
        HttpClient client = HttpClient.newHttpClient();

        String body = "{\"input\": \"one two\", \"response_format\": \"pcm\"}";
        HttpRequest post = HttpRequest.newBuilder(URI.create("http://" + host + "/v1/audio/speech"))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        var spoken = client.send(post, BodyHandlers.ofByteArray());
        System.out.println("POST " + spoken.statusCode() + " " + spoken.body().length);

        String query = "?input=one%20two&response_format=wav&stream=false";
        HttpRequest get = HttpRequest.newBuilder(URI.create("http://" + host + "/v1/audio/speech" + query)).build();
        var played = client.send(get, BodyHandlers.ofByteArray());
        System.out.println("GET " + played.statusCode() + " " + played.body().length);

        CompletableFuture<Integer> heard = new CompletableFuture<>();
        WebSocket socket = client.newWebSocketBuilder()
            .subprotocols("parlando.v1")
            .buildAsync(URI.create("ws://" + host + "/v1/audio/speech/ws"), new Listener(heard))
            .get(20, TimeUnit.SECONDS);
        socket.sendText("{\"type\": \"append\", \"text\": \"one two\"}", true).get(20, TimeUnit.SECONDS);
        socket.sendText("{\"type\": \"end\"}", true).get(20, TimeUnit.SECONDS);
        System.out.println("WS " + heard.get(20, TimeUnit.SECONDS));
        System.exit(0);
    }

    private static class Listener implements WebSocket.Listener {
        private final CompletableFuture<Integer> heard;
        private final StringBuilder message = new StringBuilder();
        private int audioBytes = 0;

        Listener(CompletableFuture<Integer> heard) {
            this.heard = heard;
        }

        @Override
        public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer data, boolean isLast) {
            audioBytes += data.remaining();
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean isLast) {
            message.append(data);
            if (isLast) {
                if (message.indexOf("\"done\"") >= 0) {
                    heard.complete(audioBytes);
                }
                message.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            heard.completeExceptionally(error);
        }
    }
}
