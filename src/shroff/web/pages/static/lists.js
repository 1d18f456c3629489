// A file that is chosen goes into the field of its form, where it can be looked at before it is sent.

for (const input of document.querySelectorAll("input[type=file][data-into]")) {
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) {
      document.getElementById(input.dataset.into).value = await file.text();
    }
  });
}
