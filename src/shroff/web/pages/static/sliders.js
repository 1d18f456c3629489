// A slider says its value while it is moved. The form works without this: the page that comes back says it, too.

const written = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 8 });

for (const slider of document.querySelectorAll("input[type=range]")) {
  const output = slider.parentElement.querySelector("output");
  slider.addEventListener("input", () => {
    output.textContent = `${written.format(slider.valueAsNumber)} ${output.dataset.unit}`;
  });
}
