// What the package exports, for a test to call: `picolm.Engine` and so on. Aborts and progress are told to the test by name.
globalThis.picolm = await import('/dist/index.js');

/** Runs `work`; its error comes back as data. */
globalThis.outcome = async (work) => {
  try {
    return { value: await work() };
  } catch (error) {
    return { name: error.name, code: error.code, message: error.message, details: error.details };
  }
};
