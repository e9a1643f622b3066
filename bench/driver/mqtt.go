package driver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Packets of MQTT 3.1.1 with the flags that they come with, and flags of messages.
const (
	mqttConnect   = 0x10
	mqttConnAck   = 0x20
	mqttPublish   = 0x30
	mqttPubAck    = 0x40
	mqttSubscribe = 0x82
	mqttSubAck    = 0x90

	mqttRetain = 1
	mqttQoS1   = 1 << 1
	mqttAgain  = 1 << 3
)

// MQTT opens a connection with MQTT 3.1.1 and a session that the broker keeps, and subscribes to topics with QoS 1. An address is a topic;
// a message is acknowledged by its PUBACK, and what comes is acknowledged in the same way.
func (l *Loop) MQTT(ctx context.Context, address, client string, topics []string, sink Sink) (*Stream, error) {
	return l.Open(ctx, address, sink, func(o *Opening) (Protocol, error) {
		connect := appendString([]byte("\x00\x04MQTT\x04\x00\x00\x00"), client) // level 4, no flags: the session is kept; no keep-alive
		if _, err := o.Write(appendPacket(nil, mqttConnect, connect)); err != nil {
			return nil, err
		}
		answer, err := mqttAnswer(o, mqttConnAck)
		if err != nil {
			return nil, err
		}
		if len(answer) != 2 || answer[1] != 0 {
			return nil, fmt.Errorf("mqtt: the broker refuses the connection: % x", answer)
		}
		subscribe := []byte{0, 1}
		for _, t := range topics {
			subscribe = append(appendString(subscribe, t), 1)
		}
		if _, err := o.Write(appendPacket(nil, mqttSubscribe, subscribe)); err != nil {
			return nil, err
		}
		if answer, err = mqttAnswer(o, mqttSubAck); err != nil {
			return nil, err
		}
		for _, granted := range answer[min(2, len(answer)):] {
			if granted != 1 {
				return nil, fmt.Errorf("mqtt: the broker refuses a subscription: % x", answer)
			}
		}
		return &mqtt{}, nil
	})
}

// mqttAnswer reads a packet that must be of a kind, and returns what is in it. Messages before it that the broker sends again were handled
// in an earlier connection, which has ended before their acknowledgements were written: they are acknowledged.
func mqttAnswer(o *Opening, kind byte) ([]byte, error) {
	for {
		got, err := o.Reader.ReadByte()
		if err != nil {
			return nil, err
		}
		n, err := binary.ReadUvarint(o.Reader)
		if err != nil {
			return nil, err
		}
		if n > readBuffer {
			return nil, errors.New("mqtt: a packet is too long")
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(o.Reader, b); err != nil {
			return nil, err
		}
		switch {
		case got == kind:
			return b, nil
		case got&^mqttRetain == mqttPublish|mqttQoS1|mqttAgain:
			_, id, err := mqttMessageOf(b)
			if err != nil {
				return nil, err
			}
			if _, err := o.Write([]byte{mqttPubAck, 2, byte(id >> 8), byte(id)}); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("mqtt: packet %#x of %d bytes; want %#x", got, n, kind)
		}
	}
}

// mqttMessageOf returns the payload of a message with QoS 1 and its packet identifier.
func mqttMessageOf(b []byte) (payload []byte, id uint16, err error) {
	if len(b) < 2 || len(b) < 4+int(binary.BigEndian.Uint16(b)) {
		return nil, 0, fmt.Errorf("mqtt: a message of %d bytes", len(b))
	}
	b = b[2+int(binary.BigEndian.Uint16(b)):]
	return b[2:], binary.BigEndian.Uint16(b), nil
}

func appendString(out []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(s))), s...)
}

// appendPacket appends a packet; its length is written as binary.AppendUvarint does.
func appendPacket(out []byte, kind byte, content []byte) []byte {
	return append(binary.AppendUvarint(append(out, kind), uint64(len(content))), content...)
}

// mqtt is the Protocol of MQTT.
type mqtt struct {
	last uint16 // packet identifier, 1 to 65,535

	mu     sync.Mutex
	flying []mqttMessage // guarded by mu; a broker acknowledges in the order in which it was sent to
}

type mqttMessage struct {
	id  uint16
	tag uint32
}

// Append is of Protocol.
func (m *mqtt) Append(out []byte, address string, tag uint32, payload []byte) []byte {
	if m.last++; m.last == 0 {
		m.last = 1
	}
	m.mu.Lock()
	m.flying = append(m.flying, mqttMessage{m.last, tag})
	m.mu.Unlock()
	out = binary.AppendUvarint(append(out, mqttPublish|mqttQoS1), uint64(2+len(address)+2+len(payload)))
	out = appendString(out, address)
	out = binary.BigEndian.AppendUint16(out, m.last)
	return append(out, payload...)
}

// Take is of Protocol.
func (m *mqtt) Take(in []byte, sink Sink, reply []byte) (taken int, replied []byte, err error) {
	for {
		b := in[taken:]
		if len(b) < 2 {
			return taken, reply, nil
		}
		n, wide := binary.Uvarint(b[1:])
		if wide < 0 || wide > 4 || n > readBuffer {
			return taken, reply, errors.New("driver: mqtt: a packet is too long")
		}
		if wide == 0 || uint64(len(b)-1-wide) < n {
			return taken, reply, nil
		}
		size := 1 + wide + int(n)
		if reply, err = m.packet(b[0], b[1+wide:size], sink, reply); err != nil {
			return taken, reply, err
		}
		taken += size
	}
}

func (m *mqtt) packet(kind byte, b []byte, sink Sink, reply []byte) ([]byte, error) {
	switch {
	case kind&^(mqttRetain|mqttAgain) == mqttPublish|mqttQoS1:
		payload, id, err := mqttMessageOf(b)
		if err != nil {
			return reply, fmt.Errorf("driver: %w", err)
		}
		sink.Delivered(payload)
		return append(reply, mqttPubAck, 2, byte(id>>8), byte(id)), nil
	case kind == mqttPubAck && len(b) == 2:
		m.mu.Lock()
		if len(m.flying) == 0 || m.flying[0].id != binary.BigEndian.Uint16(b) {
			m.mu.Unlock()
			return reply, fmt.Errorf("driver: mqtt: %d is acknowledged out of order", binary.BigEndian.Uint16(b))
		}
		tag := m.flying[0].tag
		m.flying = m.flying[1:]
		m.mu.Unlock()
		sink.Acked(tag)
		return reply, nil
	}
	return reply, fmt.Errorf("driver: mqtt: packet %#x of %d bytes", kind, len(b))
}
