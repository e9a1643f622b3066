package roles_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }
