// A worked example: a client of `dragoman serve` in Go, on google.golang.org/protobuf. docs/protocol.md tells what is spoken.
//
//	dragoman_client unix:PATH|tcp:HOST:PORT SRC TGT < in > out
//
// One line in, one line out, in order. $DRAGOMAN_TOKEN: what the server asks for; $DRAGOMAN_TLS_CA: TLS, with a server whose
// certificate is by one of those in this file (PEM); $DRAGOMAN_DEADLINE_MS: a line that takes longer is given up. Exit codes as
// of `dragoman`: 1 some lines have no translation, 2 refused, 6 the connection is lost and does not come again. A connection that
// was there and is lost is made again, with growing pauses, and what was not answered is sent again.
//
// To build it, with this file and dragoman.proto in a folder of their own:
//
//	go mod init example.org/dragoman
//	protoc --go_out=. --go_opt=module=example.org/dragoman --go_opt=Mdragoman.proto=example.org/dragoman/pb dragoman.proto
//	go get google.golang.org/protobuf@v1.28.1 && go build -o dragoman_client .      (or any later version)
//
// With Debian's golang-go, golang-google-protobuf-dev and protoc-gen-go alone, without a network: as tests/launch/client_examples.sh
// does it, by GOPATH.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"example.org/dragoman/pb"
	"google.golang.org/protobuf/proto"
)

const (
	maxBody       = 4 << 20
	frameSegments = 64
	maxTries      = 5
	maxAttempts   = 8    // to connect again: some ten seconds
	waitingLines  = 4096 // beyond those that there are credits for: so that memory is bounded
)

// A failure says what was wrong, and what the program exits with for it.
type failure struct {
	code int
	what string
}

func (f *failure) Error() string { return f.what }

// ---- frames ----

func send(w io.Writer, frame *pb.Frame) error {
	body, err := proto.Marshal(frame)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

func receive(r io.Reader) (*pb.Frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxBody {
		return nil, fmt.Errorf("a frame has at most %d bytes, this one says %d", maxBody, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	frame := &pb.Frame{}
	return frame, proto.Unmarshal(body, frame)
}

// ---- the client ----

// An Item is a segment on its way. When Done is closed, Answer or Err is there.
type Item struct {
	Segment *pb.Segment
	Answer  *pb.Answer
	Err     error
	Done    chan struct{}
	tries   int
}

func (it *Item) finish(answer *pb.Answer, err error) {
	it.Answer, it.Err = answer, err
	close(it.Done)
}

type received struct {
	frame *pb.Frame
	err   error
}

// A link is one connection.
type link struct {
	welcome *pb.Welcome
	conn    net.Conn
	in      chan received
	out     chan *pb.Frame
	over    chan struct{} // closed when nobody listens any more
}

// A Client has one connection after another. Any goroutine may call Translate.
type Client struct {
	Welcome *pb.Welcome // the first
	open    func() (*link, error)
	asked   chan *Item
	closed  chan struct{} // by Close
	over    chan struct{} // closed when err says why no more is done
	err     error
}

func dial(address, ca string) (net.Conn, error) {
	kind, rest, _ := strings.Cut(address, ":")
	if kind == "unix" && rest != "" {
		return net.Dial("unix", rest)
	}
	if _, _, err := net.SplitHostPort(rest); kind != "tcp" || err != nil {
		return nil, &failure{2, fmt.Sprintf("want unix:PATH or tcp:HOST:PORT, found '%s'", address)}
	}
	if ca == "" {
		return net.Dial("tcp", rest)
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, &failure{2, err.Error()}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, &failure{2, ca + ": want certificates in PEM"}
	}
	conn, err := tls.Dial("tcp", rest, &tls.Config{RootCAs: roots}) // the certificate is for the host in the address
	var network *net.OpError
	if err != nil && !errors.As(err, &network) {
		err = &failure{2, address + ": TLS: " + err.Error()} // next time it will not be otherwise
	}
	return conn, err
}

// open says Hello, and returns when the server has said Welcome.
func open(address, token, ca string) (l *link, err error) {
	conn, err := dial(address, ca)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	hello := &pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{Version: 1, Token: token, Client: "dragoman_client.go"}}}
	if err := send(conn, hello); err != nil {
		return nil, err
	}
	frame, err := receive(conn)
	if err != nil {
		return nil, fmt.Errorf("%s: no welcome: %w", address, err)
	}
	welcome := frame.GetWelcome()
	if welcome == nil {
		return nil, refusal(frame.GetError())
	}
	conn.SetDeadline(time.Time{})
	most := int(welcome.Credits)
	if limit := int(welcome.Limits.GetInFlight()); limit > most {
		most = limit
	}
	l = &link{welcome: welcome, conn: conn, in: make(chan received, most),
		out: make(chan *pb.Frame, most), over: make(chan struct{})} // out never blocks: there are not more credits
	go l.read()
	go l.write()
	return l, nil
}

// Connect returns when the server has said Welcome.
func Connect(address, token, ca string) (*Client, error) {
	again := func() (*link, error) { return open(address, token, ca) }
	l, err := again()
	if err != nil {
		return nil, err
	}
	c := &Client{Welcome: l.welcome, open: again, asked: make(chan *Item), closed: make(chan struct{}), over: make(chan struct{})}
	go c.run(l)
	return c, nil
}

// reopen connects again, with growing pauses and some chance in them, so that many clients do not come back at once.
func (c *Client) reopen(why error) (*link, error) {
	for attempt := 0; attempt < maxAttempts; attempt++ {
		half := 50 * time.Millisecond << attempt
		select {
		case <-time.After(half + time.Duration(time.Now().UnixNano())%half):
		case <-c.closed:
			return nil, why
		}
		l, err := c.open()
		if err == nil && (l.welcome.ModelHash != c.Welcome.ModelHash || l.welcome.OptionHash != c.Welcome.OptionHash) {
			l.close()
			err = &failure{2, "the server came back with another model or other options: its answers would not go with those before"}
		}
		if err == nil || forGood(err) {
			return l, err
		}
		why = err
	}
	return nil, fmt.Errorf("%w (after %d attempts)", why, maxAttempts)
}

func refusal(e *pb.Error) *failure {
	if e.GetRetry() {
		return &failure{8, "the server says: " + e.Message}
	}
	return &failure{2, "the server says: " + e.GetMessage()}
}

// forGood: it will not be otherwise next time.
func forGood(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.code == 2
}

// Translate asks for a segment; it waits only while very many others wait.
func (c *Client) Translate(segment *pb.Segment) *Item {
	it := &Item{Segment: segment, Done: make(chan struct{})}
	select {
	case c.asked <- it:
	case <-c.over:
		it.finish(nil, c.err)
	}
	return it
}

// Close drops what was not answered.
func (c *Client) Close() { close(c.closed) }

func (l *link) close() {
	close(l.over)
	l.conn.Close()
}

func (l *link) read() {
	for {
		frame, err := receive(l.conn)
		select {
		case l.in <- received{frame, err}:
		case <-l.over:
			return
		}
		if err != nil {
			return
		}
	}
}

func (l *link) write() {
	for {
		select {
		case frame := <-l.out:
			if send(l.conn, frame) != nil {
				return // read hears of it too
			}
		case <-l.over:
			return
		}
	}
}

// The state belongs to the one goroutine of run.
type state struct {
	waiting  []*Item
	sent     map[uint64][]*Item // by the id of their request; nil where answered
	credits  int
	id       uint64
	answered bool             // something, on this connection
	paused   <-chan time.Time // not nil: nothing is sent before
	parting  error            // why the server ends this connection: it reads nothing more there
}

func (c *Client) run(l *link) {
	s := &state{}
	for c.err == nil {
		s.sent, s.credits, s.id, s.answered, s.paused, s.parting = map[uint64][]*Item{}, int(l.welcome.Credits), 0, false, nil, nil
		c.err = c.serve(s, l)
		l.close()
		if !forGood(c.err) && s.lost(c) {
			l, c.err = c.reopen(c.err)
		}
	}
	close(c.over)
	for _, it := range append(s.waiting, s.unanswered()...) {
		it.finish(nil, c.err)
	}
}

// serve returns why the connection is over.
func (c *Client) serve(s *state, l *link) (err error) {
	for err == nil {
		s.ask(l)
		asked := c.asked
		if len(s.waiting) >= waitingLines {
			asked = nil
		}
		select {
		case it := <-asked:
			s.waiting = append(s.waiting, it)
		case r := <-l.in:
			err = s.take(r)
			for n := len(l.in); n > 0 && err == nil; n-- { // what comes together is answered by one request
				err = s.take(<-l.in)
			}
		case <-s.paused:
			s.paused = nil
		case <-c.closed:
			err = errors.New("closed")
		}
	}
	return err
}

// unanswered items in the order in which they were sent.
func (s *state) unanswered() []*Item {
	left := []*Item{}
	for id := uint64(1); id <= s.id; id++ {
		for _, it := range s.sent[id] {
			if it != nil {
				left = append(left, it)
			}
		}
	}
	s.sent = nil
	return left
}

// lost: what was not answered waits again, but for what ended each connection that it was sent on. Returns when somebody wants
// another connection; false: nobody will.
func (s *state) lost(c *Client) bool {
	kept := []*Item{}
	for _, it := range s.unanswered() {
		if !s.answered {
			it.tries++
		}
		if it.tries < maxTries {
			kept = append(kept, it)
		} else {
			it.finish(nil, c.err)
		}
	}
	s.waiting = append(kept, s.waiting...)
	for len(s.waiting) == 0 {
		select {
		case it := <-c.asked:
			s.waiting = append(s.waiting, it)
		case <-c.closed:
			return false
		}
	}
	return true
}

// ask sends as many segments as there are credits, some in each request: so several requests are in flight.
func (s *state) ask(l *link) {
	most := frameSegments
	if limit := int(l.welcome.Limits.GetRequestSegments()); limit > 0 && limit < most {
		most = limit
	}
	for s.paused == nil && s.parting == nil && s.credits > 0 && len(s.waiting) > 0 {
		t, bytes := &pb.Translate{}, 0
		for _, it := range s.waiting {
			if len(t.Segments) == most || len(t.Segments) == s.credits || bytes > maxBody/16 {
				break
			}
			t.Segments = append(t.Segments, it.Segment)
			bytes += len(it.Segment.Text)
		}
		n := len(t.Segments)
		s.id++
		s.sent[s.id] = append([]*Item{}, s.waiting[:n]...)
		s.waiting = s.waiting[n:]
		s.credits -= n
		l.out <- &pb.Frame{Id: s.id, Kind: &pb.Frame_Translate{Translate: t}}
	}
}

// take returns an error when the connection is over.
func (s *state) take(r received) error {
	frame := r.frame
	if r.err != nil && s.parting != nil {
		return s.parting
	}
	if r.err != nil {
		return fmt.Errorf("the connection is lost: %w", r.err)
	}
	switch kind := frame.Kind.(type) {
	case *pb.Frame_Credit:
		s.credits += int(kind.Credit.Credits)
	case *pb.Frame_Answer:
		a := kind.Answer
		s.credits += int(a.Credits)
		items := s.sent[frame.Id]
		if int(a.Segment) >= len(items) || items[a.Segment] == nil {
			return nil
		}
		it := items[a.Segment]
		items[a.Segment] = nil
		s.answered = true
		if a.Last {
			delete(s.sent, frame.Id)
		}
		if a.Status != pb.Status_STATUS_FAILED || !a.Retry || !s.again([]*Item{it}, a.Code, a.RetryAfterMs) {
			it.finish(a, nil)
		}
	case *pb.Frame_Error:
		if frame.Id == 0 && kind.Error.Closing { // what was asked before may still be answered: its end is the stream's
			s.parting = refusal(kind.Error)
			return nil
		}
		return s.takeError(frame.Id, kind.Error)
	}
	return nil // Health with id 0 is news, and what this client does not know does no harm
}

// takeError: about the connection (id 0), or the end of what is left of a request.
func (s *state) takeError(id uint64, e *pb.Error) error {
	s.credits += int(e.Credits)
	why := refusal(e)
	if id == 0 {
		return why
	}
	left := []*Item{}
	for _, it := range s.sent[id] {
		if it != nil {
			left = append(left, it)
		}
	}
	delete(s.sent, id)
	if e.Retry && s.again(left, e.Code, e.RetryAfterMs) {
		return nil
	}
	for _, it := range left {
		it.finish(nil, why)
	}
	return nil
}

// again lets items wait for the time that the server names, and then go out once more; false: that was often enough.
func (s *state) again(items []*Item, code pb.ErrorCode, afterMs uint32) bool {
	switch code {
	case pb.ErrorCode_ERROR_BUSY, pb.ErrorCode_ERROR_DRAINING, pb.ErrorCode_ERROR_NOT_READY, pb.ErrorCode_ERROR_CREDIT:
	default: // the segment's own fault, perhaps
		for _, it := range items {
			if it.tries++; it.tries >= maxTries {
				return false
			}
		}
	}
	if afterMs == 0 {
		afterMs = 50
	}
	s.paused = time.After(time.Duration(afterMs) * time.Millisecond)
	s.waiting = append(append([]*Item{}, items...), s.waiting...)
	return true
}

// ---- the filter ----

// readLines asks for each line, as bytes: one that is not UTF-8 is the server's to flag.
func readLines(c *Client, order chan<- *Item, src, tgt string, deadlineMs uint32) error {
	defer close(order)
	in := bufio.NewReader(os.Stdin)
	for number := uint64(1); ; number++ {
		line, err := in.ReadBytes('\n')
		if err != nil && len(line) == 0 {
			if err == io.EOF {
				return nil
			}
			return &failure{4, err.Error()}
		}
		line = []byte(strings.TrimSuffix(string(line), "\n"))
		order <- c.Translate(&pb.Segment{Text: line, Src: src, Tgt: tgt, Number: number,
			Options: &pb.Options{DeadlineMs: deadlineMs}})
	}
}

func hasText(s pb.Status) bool {
	switch s {
	case pb.Status_STATUS_OK, pb.Status_STATUS_EMPTY, pb.Status_STATUS_SPLIT, pb.Status_STATUS_COPIED,
		pb.Status_STATUS_LOOPED, pb.Status_STATUS_WRONG_SCRIPT:
		return true
	}
	return false
}

// writeLines in the order in which they were read; returns how many are flagged.
func writeLines(order <-chan *Item) (flagged int, err error) {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for it := range order {
		select {
		case <-it.Done:
		default:
			if err := out.Flush(); err != nil { // what is typed is answered at once
				return flagged, &failure{5, err.Error()}
			}
			<-it.Done
		}
		if it.Err != nil {
			return flagged, it.Err
		}
		if !hasText(it.Answer.Status) {
			flagged++
			status := strings.ToLower(strings.TrimPrefix(it.Answer.Status.String(), "STATUS_"))
			fmt.Fprintf(os.Stderr, "line %d: %s %s\n", it.Segment.Number, status, it.Answer.Message)
		}
		if len(it.Answer.Hypotheses) > 0 {
			out.WriteString(it.Answer.Hypotheses[0].Text)
		}
		out.WriteByte('\n')
		if len(order) == 0 {
			if err := out.Flush(); err != nil {
				return flagged, &failure{5, err.Error()}
			}
		}
	}
	return flagged, nil
}

func run(args []string) (flagged int, err error) {
	if len(args) != 3 {
		return 0, &failure{2, "usage: dragoman_client unix:PATH|tcp:HOST:PORT SRC TGT < in > out"}
	}
	deadline := 0
	if text := os.Getenv("DRAGOMAN_DEADLINE_MS"); text != "" {
		if deadline, err = strconv.Atoi(text); err != nil {
			return 0, &failure{2, "DRAGOMAN_DEADLINE_MS: want milliseconds, found '" + text + "'"}
		}
	}
	c, err := Connect(args[0], os.Getenv("DRAGOMAN_TOKEN"), os.Getenv("DRAGOMAN_TLS_CA"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	order, read := make(chan *Item, 2*int(c.Welcome.Credits)), make(chan error, 1)
	go func() { read <- readLines(c, order, args[1], args[2], uint32(deadline)) }()
	if flagged, err = writeLines(order); err == nil {
		err = <-read
	}
	return flagged, err
}

func main() {
	flagged, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "dragoman_client:", err)
		code := 6
		var f *failure
		if errors.As(err, &f) {
			code = f.code
		}
		os.Exit(code)
	}
	if flagged > 0 {
		os.Exit(1)
	}
}
