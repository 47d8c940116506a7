// A client of a CRI streaming server made of Kubernetes' own client library, for tests: it shares no
// code and no mistake with the server.
//
//	stream-client [flags] run URL             joins this process' stdin, stdout and stderr to exec or attach
//	stream-client [flags] forward URL PORT    forwards a free local port; prints it; ends with stdin
//
// `run` ends with the exit status that the server reports.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

var (
	webSocket = flag.Bool("websocket", false, "speak WebSocket, not SPDY")
	protocols = flag.String("protocols", "", "stream protocols, with commas; the library's own by default")
	stdin     = flag.Bool("stdin", false, "send standard input")
	stdout    = flag.Bool("stdout", true, "read standard output")
	stderr    = flag.Bool("stderr", true, "read standard error")
	tty       = flag.Bool("tty", false, "ask for a terminal")
	size      = flag.String("size", "", "size of the terminal: COLUMNSxROWS")
)

func main() {
	flag.Parse()
	config := &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	var err error
	switch {
	case flag.NArg() == 2 && flag.Arg(0) == "run":
		err = run(config, flag.Arg(1))
	case flag.NArg() == 3 && flag.Arg(0) == "forward":
		err = forward(config, flag.Arg(1), flag.Arg(2))
	default:
		err = errors.New("usage: stream-client [flags] run URL | forward URL PORT")
	}
	var ended exec.CodeExitError
	if errors.As(err, &ended) {
		os.Exit(ended.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stream-client:", err)
		os.Exit(250)
	}
}

func executor(config *rest.Config, address string) (remotecommand.Executor, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	names := strings.Split(*protocols, ",")
	switch {
	case *webSocket && *protocols == "":
		return remotecommand.NewWebSocketExecutor(config, "GET", address)
	case *webSocket:
		return remotecommand.NewWebSocketExecutorForProtocols(config, "GET", address, names...)
	case *protocols == "":
		return remotecommand.NewSPDYExecutor(config, "POST", target)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewSPDYExecutorForProtocols(transport, upgrader, "POST", target, names...)
}

// One size, then nothing: the queue ends when it is asked again.
type once struct{ size *remotecommand.TerminalSize }

func (queue *once) Next() *remotecommand.TerminalSize {
	size := queue.size
	queue.size = nil
	return size
}

func run(config *rest.Config, address string) error {
	client, err := executor(config, address)
	if err != nil {
		return err
	}
	options := remotecommand.StreamOptions{Tty: *tty}
	if *stdin {
		options.Stdin = os.Stdin
	}
	if *stdout {
		options.Stdout = os.Stdout
	}
	if *stderr && !*tty {
		options.Stderr = os.Stderr
	}
	if *size != "" {
		wanted := remotecommand.TerminalSize{}
		if _, err := fmt.Sscanf(*size, "%dx%d", &wanted.Width, &wanted.Height); err != nil {
			return err
		}
		options.TerminalSizeQueue = &once{&wanted}
	}
	return client.StreamWithContext(context.Background(), options)
}

func forward(config *rest.Config, address, port string) error {
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	var dialer httpstream.Dialer
	if *webSocket {
		dialer, err = portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
	} else {
		var transport http.RoundTripper
		var upgrader spdy.Upgrader
		transport, upgrader, err = spdy.RoundTripperFor(config)
		if err == nil {
			dialer = spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, "POST", target)
		}
	}
	if err != nil {
		return err
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewForStreaming(dialer, []string{"0:" + port}, stop, ready, io.Discard, os.Stderr)
	if err != nil {
		return err
	}
	go func() {
		<-ready
		ports, err := forwarder.GetPorts()
		if err == nil && len(ports) == 1 {
			fmt.Println(ports[0].Local)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return forwarder.ForwardPorts()
}
