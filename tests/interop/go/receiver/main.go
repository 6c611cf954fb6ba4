// Command receiver is a Lumberjack server, Elastic's go-lumber, that writes what it received before it acks.
//
// The first line of its output is {"listening": "ADDRESS"}. Then, by --write:
//
//	events   one line per event: its JSON as it came over the wire, without insignificant white space
//	ids      one line per event: the value of its --field alone
//	windows  one line per window: how many events it holds; nothing is decoded
//
// The lines of one window leave in one write, and only then the window is acked. SIGTERM ends it in order.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	lumber "github.com/elastic/go-lumber/server/v2"
)

var (
	listen     = flag.String("listen", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	write      = flag.String("write", "events", "what to write: events, ids or windows")
	field      = flag.String("field", "id", "top-level field that --write ids writes")
	ackDelay   = flag.Duration("ack-delay", 0, "how long to work on each window before the ack")
	keepalive  = flag.Duration("keepalive", 3*time.Second, "how often to send a keep-alive meanwhile; 0 sends none")
	timeout    = flag.Duration("timeout", 30*time.Second, "how long one window may take to arrive")
	neverAck   = flag.Bool("never-ack", false, "write every window, and ack none")
	closeEvery = flag.Int("close-every", 0, "close the connection instead of acking every Nth window, after writing it")
	tlsCert    = flag.String("tls-cert", "", "certificate chain, PEM; turns TLS on")
	tlsKey     = flag.String("tls-key", "", "its private key, PEM")
	tlsCA      = flag.String("tls-ca", "", "authorities, PEM; clients must show a certificate they signed")
	tls12      = flag.Bool("tls-1.2", false, "speak no newer TLS than 1.2")
)

func main() {
	flag.Parse()
	mode, known := modes[*write]
	if !known {
		log.Fatalf("--write=%s: one of events, ids, windows", *write)
	}

	listener, err := net.Listen("tcp", *listen)
	exitOn(err)
	connections := &connections{Listener: listener}
	server, err := lumber.NewWithListener(encrypted(connections),
		lumber.JSONDecoder(mode.decode), lumber.Keepalive(*keepalive), lumber.Timeout(*timeout))
	exitOn(err)

	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-terminated
		server.Close() // closes the channel below as well
	}()
	fmt.Printf("{\"listening\": %q}\n", listener.Addr())

	windows := 0
	for batch := range server.ReceiveChan() {
		windows++
		var lines bytes.Buffer
		mode.print(&lines, batch.Events)
		_, err := os.Stdout.Write(lines.Bytes())
		exitOn(err)
		switch {
		case *closeEvery > 0 && windows%*closeEvery == 0:
			connections.close(batch.RemoteAddr)
		case *neverAck:
		case *ackDelay > 0:
			// Not here: the windows of other connections must not wait for this one.
			time.AfterFunc(*ackDelay, batch.ACK)
		default:
			batch.ACK()
		}
	}
}

// modes say by --write what is kept of an event's JSON, and what is written about a window of them.
var modes = map[string]struct {
	decode func(data []byte, kept interface{}) error
	print  func(lines *bytes.Buffer, window []interface{})
}{
	"events":  {keepEvent, printKept},
	"ids":     {keepField, printKept},
	"windows": {keepNothing, printSize},
}

// keepEvent accepts exactly what go-lumber's default decoder accepts, but keeps the bytes: decoded and
// encoded again, 9007199254740993 would be ...992.
func keepEvent(data []byte, kept interface{}) error {
	var decoded interface{}
	if err := json.Unmarshal(data, &decoded); err != nil {
		return err
	}
	*kept.(*interface{}) = json.RawMessage(append([]byte(nil), data...)) // go-lumber reuses data
	return nil
}

func keepField(data []byte, kept interface{}) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	value, found := fields[*field]
	if !found {
		value = json.RawMessage("null")
	}
	*kept.(*interface{}) = value
	return nil
}

func keepNothing([]byte, interface{}) error { return nil }

func printKept(lines *bytes.Buffer, window []interface{}) {
	for _, kept := range window {
		exitOn(json.Compact(lines, kept.(json.RawMessage)))
		lines.WriteByte('\n')
	}
}

func printSize(lines *bytes.Buffer, window []interface{}) {
	fmt.Fprintln(lines, len(window))
}

// connections is a listener that can close a connection by its remote address, which is all a batch tells.
type connections struct {
	net.Listener
	open sync.Map
}

func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.open.Store(conn.RemoteAddr().String(), conn)
	}
	return conn, err
}

func (c *connections) close(remote string) {
	if conn, found := c.open.LoadAndDelete(remote); found {
		conn.(net.Conn).Close()
	}
}

// encrypted wraps the listener in TLS if the flags ask for it.
func encrypted(listener net.Listener) net.Listener {
	if *tlsCert == "" {
		return listener
	}
	certificate, err := tls.LoadX509KeyPair(*tlsCert, *tlsKey)
	exitOn(err)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if *tls12 {
		config.MaxVersion = tls.VersionTLS12
	}
	if *tlsCA != "" {
		authorities, err := os.ReadFile(*tlsCA)
		exitOn(err)
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(authorities)
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return tls.NewListener(listener, config)
}

func exitOn(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
