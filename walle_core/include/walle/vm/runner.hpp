// One interpreter with a GIL of its own, on the public C API of Python 3.12 and later; bound to the thread that makes it.
#ifndef WALLE_VM_RUNNER_HPP
#define WALLE_VM_RUNNER_HPP
#include <Python.h>

#include <string>

#include "walle/vm/crossing.hpp"
#define WALLE_VM_AVAILABLE (PY_VERSION_HEX >= 0x030C0000)

namespace walle_vm {
constexpr bool kAvailable = WALLE_VM_AVAILABLE;

// Raises a class in a thread of the current interpreter at its next bytecode; None takes it back.
inline int raise_in(unsigned long thread, PyObject* error) {
  return PyThreadState_SetAsyncExc(thread, error == Py_None ? nullptr : error);
}
}  // namespace walle_vm

#if WALLE_VM_AVAILABLE
#include <unistd.h>

#include <string>
#include <thread>

#include "walle/vm/state.hpp"

namespace walle_vm {

constexpr long kDescription = 8L << 20;  // what saying how a run failed may take when its memory is used up

inline std::string told() {
  PyObject *t, *v, *tb;
  PyErr_Fetch(&t, &v, &tb);
  PyErr_NormalizeException(&t, &v, &tb);
  PyObject* s = v ? PyObject_Str(v) : nullptr;
  const char* m = s ? PyUnicode_AsUTF8(s) : nullptr;
  std::string out = std::string(t ? ((PyTypeObject*)t)->tp_name : "error") + ": " + (m ? m : "");
  Py_XDECREF(s);
  Py_XDECREF(t);
  Py_XDECREF(v);
  Py_XDECREF(tb);
  PyErr_Clear();
  return out;
}

// "" or what went wrong. `boot` holds (code of the guest module, its settings).
inline std::string create(Vm* vm, const Parcel& boot) {
  install();
  PyThreadState* back = PyThreadState_Get();
  PyInterpreterConfig config = {};
  config.use_main_obmalloc = 0;
  config.allow_fork = 0;
  config.allow_exec = 0;
  config.allow_threads = 0;
  config.allow_daemon_threads = 0;
  config.check_multi_interp_extensions = 1;
  config.gil = PyInterpreterConfig_OWN_GIL;
  account = &vm->account;
  PyStatus status = Py_NewInterpreterFromConfig(&vm->state, &config);
  account = nullptr;
  if (PyStatus_Exception(status) || !vm->state) return status.err_msg ? status.err_msg : "no interpreter could be made";
  vm->interp = PyThreadState_GetInterpreter(vm->state);
  vm->thread = PyThread_get_thread_ident();
  PyEval_SaveThread();
  PyEval_RestoreThread(back);
  Entered here(vm);
  PyObject* given = unpack(boot);
  vm->guest = PyDict_New();
  vm->journal = PyDict_New();
  vm->watcher = PyDict_AddWatcher(on_change);
  PyObject *function = PyCFunction_New(&watch_method, nullptr), *shielding = PyCFunction_New(&shield_method, nullptr);
  PyObject* name = PyUnicode_FromString("walle_core.vm.guest");
  PyObject* done = nullptr;
  if (given && function && shielding && name && !PyDict_SetItemString(vm->guest, "__builtins__", PyEval_GetBuiltins()) &&
      !PyDict_SetItemString(vm->guest, "__name__", name))
    done = PyEval_EvalCode(PyTuple_GET_ITEM(given, 0), vm->guest, vm->guest);
  if (done) {
    Py_DECREF(done);
    PyObject* boot_function = PyDict_GetItemString(vm->guest, "boot");
    done = PyObject_CallFunctionObjArgs(boot_function, PyTuple_GET_ITEM(given, 1), function, vm->journal, shielding, nullptr);
  }
  Py_XDECREF(given);
  Py_XDECREF(function);
  Py_XDECREF(shielding);
  Py_XDECREF(name);
  if (!done) return told();
  vm->entries = Py_NewRef(PyTuple_GET_ITEM(done, 0));
  vm->lines = Py_NewRef(PyTuple_GET_ITEM(done, 1));
  vm->output = Py_NewRef(PyTuple_GET_ITEM(done, 2));
  vm->stop = Py_NewRef(PyTuple_GET_ITEM(done, 3));
  Py_DECREF(done);
  return "";
}

inline PyObject* function(Vm* vm, const char* name) { return PyDict_GetItemString(vm->guest, name); }

// A parcel with (kind, type, text, traceback) of the exception that is set.
inline void describe(Vm* vm, Parcel& out) {
  PyObject *t, *v, *tb;
  PyErr_Fetch(&t, &v, &tb);
  PyErr_NormalizeException(&t, &v, &tb);
  if (tb) PyException_SetTraceback(v, tb);
  const char* type = t ? ((PyTypeObject*)t)->tp_name : "SystemError";
  PyObject* said = PyObject_CallFunctionObjArgs(function(vm, "describe"), v ? v : Py_None, nullptr);
  if (!said) {  // the exception's own __str__ failed or was stopped
    PyErr_Clear();
    said = Py_BuildValue("(ssss)", "error", type, "", "");
  }
  if (!said || !pack(said, out)) PyErr_Clear();
  Py_XDECREF(said);
  Py_XDECREF(t);
  Py_XDECREF(v);
  Py_XDECREF(tb);
}

// Loads a task (index < 0, `in` a tuple) or calls one (`in` a dict): 0 and the value, or 1 and how it failed, in `out`; 2 if that
// has left the interpreter's modules in pieces.
inline int run(Vm* vm, Py_ssize_t index, const Parcel& in, long memory, long output, Parcel& out, Parcel& logs) {
  Entered here(vm);
  PyObject *given = unpack(in), *none = nullptr, *callable = nullptr, *result = nullptr;
  if (given && vm->output_limit != output) {
    PyObject* n = PyLong_FromLong(output);
    if (n && !PyList_SetItem(vm->output, 0, n)) vm->output_limit = output;
  }
  if (given && (index != vm->current || index < 0)) {
    PyObject* at = PyLong_FromSsize_t(index);
    PyObject* switched = at ? PyObject_CallFunctionObjArgs(function(vm, "switch"), at, nullptr) : nullptr;
    if (switched) vm->current = index;
    else Py_CLEAR(given);
    Py_XDECREF(at);
    Py_XDECREF(switched);
  }
  vm->account.refused = vm->account.tensors = 0;
  vm->account.limit = memory ? vm->account.used + memory : 0;
  __atomic_add_fetch(&vm->halt.run, 1, __ATOMIC_RELAXED);
  if (walle_stop_place) *walle_stop_place() = &vm->halt;
  vm->shield = 0;
  vm->running = true;
  if (given && index < 0) {
    callable = function(vm, "load");
    result = PyObject_CallObject(callable, given);
  } else if (given) {
    callable = Py_NewRef(PyList_GET_ITEM(vm->entries, index));
    none = PyTuple_New(0);
    result = PyObject_Call(callable, none, given);
    Py_DECREF(callable);
    Py_XDECREF(none);
  }
  Py_XDECREF(given);
  int failed = 0;
  if (result) {
    vm->running = false;
    vm->account.limit = 0;
    PyThreadState_SetAsyncExc(vm->thread, nullptr);
    if (!pack(result, out)) {
      failed = 1;
      free(out.data);
      out.data = nullptr;
      vm->running = true;
    }
    Py_DECREF(result);
  } else failed = 1;
  if (failed) {
    if (vm->account.limit) vm->account.limit = vm->account.used + vm->account.tensors + kDescription;
    describe(vm, out);
    vm->running = false;
    vm->account.limit = 0;
    PyThreadState_SetAsyncExc(vm->thread, nullptr);
    PyObject* torn = PyObject_CallNoArgs(function(vm, "torn"));
    if (torn != Py_False) failed = 2;
    Py_XDECREF(torn);
    PyErr_Clear();
    if (vm->account.refused) {
      PyObject* tidied = PyObject_CallNoArgs(function(vm, "tidy"));
      Py_XDECREF(tidied);
      PyErr_Clear();
    }
  }
  if (walle_stop_place) *walle_stop_place() = nullptr;
  if (PyList_GET_SIZE(vm->lines)) {
    PyObject* text = PyObject_CallNoArgs(function(vm, "drain"));
    if (text) pack(text, logs);
    Py_XDECREF(text);
    PyErr_Clear();
  }
  return failed;
}

// Frees the place of a loaded task.
inline void forget(Vm* vm, Py_ssize_t index) {
  Entered here(vm);
  PyObject* done = PyObject_CallFunction(function(vm, "forget"), "n", index);
  Py_XDECREF(done);
  PyErr_Clear();
  if (vm->current == index) vm->current = -1;
}

// Tells the run in progress to stop: its native loops at once, and by `stop` as soon as it executes bytecode. Never waits: a
// thread does, for that GIL.
inline bool interrupt(Vm* vm) {
  if (!vm->running) return false;
  const int64_t run = __atomic_load_n(&vm->halt.run, __ATOMIC_RELAXED);
  __atomic_store_n(&vm->halt.asked, run, __ATOMIC_RELAXED);
  if (vm->pending.exchange(1)) return false;
  try {
    std::thread([vm, run] {
      PyThreadState* state = PyThreadState_New(vm->interp);
      PyEval_RestoreThread(state);
      if (vm->running && !vm->shield && vm->halt.run == run) PyThreadState_SetAsyncExc(vm->thread, vm->stop);
      PyThreadState_Clear(state);
      PyThreadState_DeleteCurrent();
      vm->pending = 0;
    }).detach();
  } catch (...) {
    vm->pending = 0;
    return false;
  }
  return true;
}

inline void destroy(Vm* vm) {
  PyThreadState* back = PyEval_SaveThread();
  while (vm->pending) usleep(200);
  PyEval_RestoreThread(vm->state);
  account = &vm->account;
  for (PyObject** held : {&vm->entries, &vm->lines, &vm->output, &vm->stop, &vm->journal, &vm->guest}) Py_CLEAR(*held);
  Py_EndInterpreter(vm->state);
  account = nullptr;
  vm->state = nullptr;
  PyEval_RestoreThread(back);
}

}  // namespace walle_vm
#else
namespace walle_vm {
struct Account {
  long used, limit, refused;
};
struct Vm {
  Account account;
  unsigned long thread;
};
inline std::string create(Vm*, const Parcel&) { return "this Python has none"; }
inline int run(Vm*, Py_ssize_t, const Parcel&, long, long, Parcel&, Parcel&) { return 1; }
inline void forget(Vm*, Py_ssize_t) {}
inline int meter(int64_t) { return 1; }
inline bool interrupt(Vm*) { return false; }
inline void destroy(Vm*) {}
}  // namespace walle_vm
#endif
#endif
