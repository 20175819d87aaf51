# Who works with a model: threads that read it, or one thread that changes it. Written in C, between whose statements no
# signal is handled: an interrupt comes before a `with` statement or within it, so that every way out frees the model.

cdef str refusal_of(task, model, running):
    return (
        f"{task} of model {model!r} cannot begin: {running} runs in another thread. Wait until it has ended, or work "
        "with a copy made before, copy.deepcopy(model)"
    )


cdef class Occupancy:
    cdef unsigned long changer  # thread; 0: none
    cdef object task  # of the changer
    cdef list readers  # (thread, task)
    cdef object __weakref__

    def __cinit__(self):
        self.readers = []
        _forget_in_child(self)

    def forget_other_threads(self):
        me = PyThread_get_thread_ident()
        self.readers = [reader for reader in self.readers if reader[0] == me]
        if self.changer != me:
            self.changer = 0

    def changing(self, task, model, bint within=False):
        return Occupation(self, task, model, True, within)

    def reading(self, task, model):
        return Occupation(self, task, model, False)


cdef class Occupation:
    cdef Occupancy occupancy
    cdef object task, model
    cdef bint changes, within
    cdef bint holds  # changes the model now, not as a part of another change
    cdef tuple reader  # entry of the occupancy while it reads
    cdef Network reserved

    def __cinit__(self, Occupancy occupancy not None, task, model, bint changes, bint within=False):
        self.occupancy, self.task, self.model, self.changes, self.within = occupancy, task, model, changes, within

    def __dealloc__(self):
        self.leave()

    def __enter__(self):
        cdef Occupancy occupancy = self.occupancy
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef tuple entry = (me, self.task)
        if occupancy.changer != 0 and occupancy.changer != me:
            raise RuntimeError(refusal_of(self.task, self.model, occupancy.task))
        if not self.changes:
            self.reader = entry
            occupancy.readers.append(entry)
            return self
        if occupancy.changer == me:
            if not self.within:
                raise RuntimeError(
                    f"{self.task} of model {self.model!r} cannot begin: this is a callback of {occupancy.task}, which has "
                    "not ended"
                )
            return self
        for thread, task in occupancy.readers:
            if <unsigned long>thread != me:
                raise RuntimeError(refusal_of(self.task, self.model, task))
        occupancy.changer, occupancy.task, self.holds = me, self.task, True
        return self

    def __exit__(self, *error):
        self.leave()

    def reserve(self, Network network not None):
        if network.owner == PyThread_get_thread_ident():
            return  # part of a change that has reserved it
        message = refusal_of("a call", self.model, self.task)
        network.owner, network.refusal, self.reserved = PyThread_get_thread_ident(), message, network
        while network.users:  # calls that other threads have started: native code, which ends soon
            _time.sleep(0.0)

    cdef void leave(self):
        if self.reserved is not None:
            self.reserved.owner = 0
            self.reserved = None
        if self.reader is not None:
            self.occupancy.readers = [reader for reader in self.occupancy.readers if reader is not self.reader]
            self.reader = None
        if self.holds:
            self.occupancy.changer = 0
            self.holds = False
