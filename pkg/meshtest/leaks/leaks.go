// Package leaks looks for goroutines that tests leave behind. It promises to wait for those that are about to end: goleak by itself
// waits for half a second, which a machine that does much else may need to close a connection.
package leaks

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long a goroutine may take to end.
const patience = 30 * time.Second

// Find is goleak.Find with patience.
func Find(options ...goleak.Option) (err error) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if err = goleak.Find(options...); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// Patient is m for goleak.VerifyTestMain: when the tests have passed it waits until nothing is left.
func Patient(m goleak.TestingM) goleak.TestingM { return patient{m} }

type patient struct{ goleak.TestingM }

func (p patient) Run() int {
	code := p.TestingM.Run()
	if code == 0 {
		_ = Find() // goleak looks again, and tells
	}
	return code
}
