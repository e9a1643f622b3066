package scylla

// What the tests of this package's outside need of its inside.
var (
	EraseTime = eraseTime
	MigrateTo = migrateTo
)

// Defaults fills in the defaults of options that are valid.
func (o Options) Defaults() Options {
	o, err := o.withDefaults()
	if err != nil {
		panic(err)
	}
	return o
}
