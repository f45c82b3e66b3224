# Included by _engine.pyx: what it reports.

cdef class Match:
    """Events that satisfy a pattern, or, in the side output ``timeouts``, the first steps of one.

    Attributes:
        task: name of the task whose pattern it is.
        key: whose events.
        start, time: of the first and of the last event, milliseconds; of a timeout: when the time was over.
        position: number of the first event among all that the trigger saw.
        timeout: is it a partial match whose time has passed?
    """

    cdef readonly str task, key
    cdef readonly int64_t start, time
    cdef readonly uint64_t position
    cdef readonly bint timeout
    cdef bytes rows
    cdef tuple steps, made
    cdef Engine engine

    @property
    def span(self):
        """Every event from the first to the last that the pattern keeps: those taken and, if it spans, all between."""
        if self.made is None:
            self.made = tuple(self.engine.unpack(self.rows, self.key))
        return self.made

    @property
    def events(self):
        """The events that were taken, one per step and repeat, in order."""
        cdef tuple span = self.span
        return tuple([span[step] for step in self.steps])

    @property
    def first(self):
        """The first event."""
        return self.span[0]

    @property
    def last(self):
        """The last event."""
        span = self.span
        return span[len(span) - 1]

    @property
    def nbytes(self):
        """Bytes that the events take, packed."""
        return len(self.rows)

    def __len__(self):
        return len(self.steps)

    def __repr__(self):
        return f"<Match of {self.task} for {self.key!r}: {len(self.steps)} events, {self.start} to {self.time} ms>"
